"""bench_isolation.py - what a call costs in a plugin's child process beside the same call in the server, on the same core."""
import os
import statistics
import subprocess
import tempfile
from server import BUILD, Server, TOKEN

HERE = os.path.dirname(os.path.abspath(__file__))
CONFIG = f"""
modules:
  dirs: ["{BUILD}/plugins", "{BUILD}/test-plugins"]
  migration_dirs: ["{HERE}/../../migrations", "{HERE}/../contract/plugins/migrations"]
plugins:
  bench: {{enabled: true, required: true, isolation: %s}}
"""


def serve(mode, dsn, cpus):
    """A server and its children on the same core or cores."""
    server = Server(dsn, env={"LOG_LEVEL": "warn"}, config=CONFIG % mode)
    process = server.admin("GET", "/admin/modules/bench").json()["process"]
    for pid in [server.process.pid] + ([process["pid"]] if process else []):
        subprocess.run(["taskset", "-acp", cpus, str(pid)], check=True, capture_output=True)
    return server


def spread(values):
    return f"{statistics.median(values):,.1f} us ({min(values):,.1f}-{max(values):,.1f})"


def case(what, goal, rounds, wrk, path, script, connections, durable):
    """Alternating rounds; the cost of one request is the time that it took of the server, at full load, or of the client, alone."""
    work = tempfile.mkdtemp(prefix="sl-bench-isolation-")
    cpus = "0,1" if durable else "0"
    servers = {m: serve(m, f"sqlite:{work}/{m}.db" if durable else "", cpus) for m in ("none", "process")}
    cost = {m: [] for m in servers}
    for i in range(rounds + 1):
        for m, s in servers.items():
            rate = wrk(s.url + path, script, "0,1" if durable else "1", connections)
            if i:
                cost[m].append(1e6 / rate)
    for s in servers.values():
        s.stop()
    ratio = [a / b for a, b in zip(cost["process"], cost["none"])]
    print(f"{what}: in a child process {spread(cost['process'])}, in the server {spread(cost['none'])}: "
          f"{statistics.median(ratio):.2f} times ({min(ratio):.2f}-{max(ratio):.2f}; goal under {goal})", flush=True)


def isolation(rounds, wrk, hello, post):
    case("trivial call, 64 connections, one core", 10, rounds, wrk, "/bench/hello", hello, 64, False)
    case("trivial call, 1 connection, one core", 10, rounds, wrk, "/bench/hello", hello, 1, False)
    case("durable one-row POST on SQLite, 64 connections", 2, rounds, wrk, "/bench/rows", post, 64, True)
    case("durable one-row POST on SQLite, 1 connection", 2, rounds, wrk, "/bench/rows", post, 1, True)
