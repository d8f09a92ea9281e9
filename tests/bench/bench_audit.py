"""bench_audit.py - what the audit log costs a durable write: none, in the store, and in the store and a file, by wall clock and by CPU time."""
import os
import re
import tempfile
import time
from server import Server

HOW = {"off": {"AUDIT_ENABLED": "false"}, "store": {}, "file": {"AUDIT_LOG_PATH": "%s/audit.jsonl"}}


def cpu_seconds(server):
    with open(f"/proc/{server.process.pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def written(server):
    text = server.get("/metrics", token=None).text
    return sum(int(n) for n in re.findall(r'^http_requests_total\{method="POST",route="/bench/rows".*\} (\d+)$', text, re.M))


def settle(server):
    """Sealing is part of the cost."""
    end = time.monotonic() + 60
    while time.monotonic() < end and server.admin("GET", "/admin/audit/head").json()["waiting"]:
        time.sleep(0.1)


def audit(report, rounds, wrk, script, config):
    work = tempfile.mkdtemp(prefix="sl-bench-audit-")
    servers = {name: Server(f"sqlite:{work}/{name}.db", env={"LOG_LEVEL": "warn"} | {k: v.replace("%s", work) for k, v in env.items()},
                            config=config) for name, env in HOW.items()}
    wall, cpu = {name: [] for name in HOW}, {name: [] for name in HOW}
    for i in range(rounds + 1):
        for name, server in servers.items():
            before, count = cpu_seconds(server), written(server)
            rate = wrk(server.url + "/bench/rows", script, "0,1")
            settle(server)
            if i:
                wall[name].append(rate)
                cpu[name].append((written(server) - count) / (cpu_seconds(server) - before))
    for name, words in (("store", "audited in the store"), ("file", "audited in the store and a file")):
        report(f"durable one-row POST on SQLite, {words}, 64 clients", wall[name], wall["off"], "the same with audit off", "inserts/s")
        report("the same, by the server's CPU time with sealing", cpu[name], cpu["off"], "the same with audit off", "inserts/CPU s")
    for server in servers.values():
        server.stop()
