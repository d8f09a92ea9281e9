"""bench_observed.py - what identity, limits, audit and tracing cost on the trivial route: all of them on beside all of them off."""
import os
import re
import subprocess
import tempfile
import time
from server import Server

RATES = {"LIMITS_TOKEN": "1000000/s burst 1000000", "LIMITS_TENANT": "1000000/s burst 1000000", "LIMITS_ADDRESS": "100/s burst 500",
         "LIMITS_TENANT_INFLIGHT": "10000"}


def collector(work, port):
    """nginx takes every batch and throws it away."""
    conf = os.path.join(work, "collector.conf")
    with open(conf, "w") as f:
        f.write(f"""worker_processes 1; daemon off; pid {work}/collector.pid; error_log {work}/collector.err crit; user root;
events {{ worker_connections 100; }}
http {{ access_log off; keepalive_requests 100000000; client_max_body_size 64m; client_body_buffer_size 8m;
  client_body_temp_path {work}/b; proxy_temp_path {work}/p; fastcgi_temp_path {work}/f; uwsgi_temp_path {work}/u; scgi_temp_path {work}/s;
  server {{ listen 127.0.0.1:{port}; location / {{ return 200 ''; }} }} }}""")
    process = subprocess.Popen(["taskset", "-c", "1", "/usr/sbin/nginx", "-c", conf])
    time.sleep(0.5)
    return process


def serve(what, work, config, pin, port):
    env = {"LOG_LEVEL": "warn", "AUDIT_ENABLED": "false", "LIMITS_ADDRESS": "0"}
    if what in ("limits", "all"):
        env.update(RATES)
    if what in ("audit", "all"):
        env.update({"AUDIT_ENABLED": "true", "AUDIT_LOG_PATH": f"{work}/{what}.jsonl"})
    if what in ("tracing", "all"):
        env.update({"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_TRACES_SAMPLER_ARG": "1"})
    server = Server(env=env, config=config)
    pin(server, "0")
    return server


def spans(server):
    """Recorded, dropped and batches so far."""
    text = server.get("/metrics", token=None).text
    return [int((re.search(rf"^{n} (\d+)$", text, re.M) or [0, 0])[1])
            for n in ("traces_spans_total", "traces_spans_dropped_total", "traces_exports_total")]


def requests(server):
    text = server.get("/metrics", token=None).text
    return sum(int(n) for n in re.findall(r'^http_requests_total\{method="GET",route="/bench/hello".*\} (\d+)$', text, re.M))


def cpu_seconds(server):
    with open(f"/proc/{server.process.pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def observed(report, rounds, wrk, script, config, pin, port, parts=("bare", "all")):
    """The same route with the same token, in turn; server on one core, load generator and collector on the other."""
    work = tempfile.mkdtemp(prefix="sl-bench-observed-")
    sink = collector(work, port)
    servers = {p: serve(p, work, config, pin, port) for p in parts}
    rates, per_cpu = {p: [] for p in parts}, {p: [] for p in parts}
    for i in range(rounds + 1):
        for p, s in servers.items():
            cpu, count = cpu_seconds(s), requests(s)
            rate = wrk(s.url + "/bench/hello", script)
            if i:
                rates[p].append(rate)
                per_cpu[p].append((requests(s) - count) / (cpu_seconds(s) - cpu))
    for p in parts[1:]:
        name = "limits, audit and every request traced" if p == "all" else p
        report(f"trivial route with {name}, one core, 64 connections", rates[p], rates["bare"], "the same without")
        report("the same, by the server's CPU time (heeds no neighbours)", per_cpu[p], per_cpu["bare"], "the same without", "requests/CPU s")
        if p in ("all", "tracing"):
            recorded, dropped, batches = spans(servers[p])
            print(f"  spans recorded {recorded:,}, dropped {dropped:,} ({dropped / max(1, recorded + dropped):.1%}), batches {batches:,}", flush=True)
    for s in servers.values():
        s.stop()
    sink.terminate()
    sink.wait()
