"""bench_jobs.py - durable no-op jobs on PostgreSQL: ours beside graphile-worker and pg-boss, each alone on the machine in turn."""
import json
import os
import shutil
import subprocess
import tempfile
import time
import psycopg2
from server import BUILD, Server

HERE = os.path.dirname(os.path.abspath(__file__))
PEERS = os.path.join(BUILD, "bench-peers")
FILL = 5000  # jobs that one call of the bench plugin enqueues
MANY = 100000  # for those that are fast enough


def install():
    """npm ci checks each package against the hashes of the lock file."""
    if not os.path.isdir(os.path.join(PEERS, "node_modules")):
        os.makedirs(PEERS, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(os.path.join(HERE, "peers", name), PEERS)
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=PEERS, check=True, timeout=300)
    for name in ("graphile.js", "pgboss.js"):
        shutil.copy(os.path.join(HERE, "peers", name), PEERS)


def ours(dsn, n, config):
    """Fills the queue while no worker runs, then starts one server and waits until the queue is empty."""
    filler = Server(dsn, env={"LOG_LEVEL": "warn", "JOBS_CONCURRENCY": "0"}, config=config)
    start = time.monotonic()
    for _ in range(n // FILL):
        answer = filler.post("/bench/jobs", json={"count": FILL})
        assert answer.status_code == 202, answer.text
    added = n / (time.monotonic() - start)
    filler.stop()
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    cursor = connection.cursor()
    start = time.monotonic()
    worker = Server(dsn, env={"LOG_LEVEL": "warn"}, config=config, wait=False)
    while True:
        cursor.execute("select exists (select 1 from sl_jobs where kind = 'bench.nothing')")
        if not cursor.fetchone()[0]:
            break
        time.sleep(0.005)
    executed = n / (time.monotonic() - start)
    cursor.execute("select count(*) from sl_job_runs where kind = 'bench.nothing' and outcome = 'succeeded'")
    ran = cursor.fetchone()[0]
    assert ran == n, f"{ran} runs of {n} jobs"
    connection.close()
    worker.stop()
    return {"added": added, "executed": executed}


def peer(script, dsn, n, mode):
    out = subprocess.run(["node", os.path.join(PEERS, script), dsn, str(n), str(mode)], cwd=PEERS, capture_output=True, text=True, timeout=300)
    if out.returncode:
        raise SystemExit(f"{script}: {out.stderr}")
    return json.loads(out.stdout)


def jobs(report, rounds, config):
    install()
    directory = tempfile.mkdtemp(prefix="sl-bench-pg-")
    helper = os.path.join(HERE, "..", "lib", "postgres")
    base = subprocess.run([helper, "start", directory], capture_output=True, text=True, check=True).stdout.strip()
    number = 0

    def database():
        nonlocal number
        number += 1
        connection = psycopg2.connect(base)
        connection.autocommit = True
        connection.cursor().execute(f"create database jobs{number}")
        connection.close()
        head, _, query = base.partition("?")
        return head.rsplit("/", 1)[0] + f"/jobs{number}" + ("?" + query if query else "")

    runs = {"ours": lambda: ours(database(), MANY, config),
            "graphile-worker 0.17.3, localQueue 500 and batched completion": lambda: peer("graphile.js", database(), MANY, "batched"),
            "graphile-worker 0.17.3, defaults": lambda: peer("graphile.js", database(), 5000, "plain"),
            "pg-boss 10.4.2, fetched and completed 100 at a time": lambda: peer("pgboss.js", database(), 10000, 100)}
    found = {name: [] for name in runs}
    try:
        for _ in range(rounds):
            for name, run in runs.items():
                found[name].append(run())
    finally:
        subprocess.run([helper, "stop", directory], check=True)
        shutil.rmtree(directory, ignore_errors=True)
    mine = found.pop("ours")
    for name, theirs in found.items():
        report("durable no-op jobs executed on PostgreSQL", [r["executed"] for r in mine], [r["executed"] for r in theirs], name, "jobs/s")
    name = next(iter(found))
    report("durable jobs enqueued in bulk on PostgreSQL", [r["added"] for r in mine], [r["added"] for r in found[name]], name, "jobs/s")
