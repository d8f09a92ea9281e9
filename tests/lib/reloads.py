"""reloads.py - reloads a plugin again and again under traffic to its own routes, and gathers what happened."""
import json
import os
import shutil
import statistics
import subprocess
import time
from server import BUILD, ROOT, TOKEN, Server

HERE = os.path.dirname(os.path.abspath(__file__))


def start(directory, dsn="", more="", plugins=("bench", "hello", "counter"), enabled=None, listed=None, **options):
    """A server with a plugin directory of its own, so that files in it can be replaced."""
    os.makedirs(f"{directory}/plugins", exist_ok=True)
    for name in plugins:
        shutil.copy(f"{BUILD}/test-plugins/{name}.so", f"{directory}/plugins")
    listed = listed or "".join(f"  {name}: {{enabled: true}}\n" for name in enabled or plugins)
    window = "" if "rollback_window" in more else "  rollback_window: 0s\n"
    window += "" if "drain:" in more else "  drain: 5s\n"
    config = (f'modules:\n  dirs: ["{directory}/plugins"]\n  migration_dirs: ["{ROOT}/migrations", '
              f'"{ROOT}/tests/contract/plugins/migrations"]\n{more}{window}plugins:\n{listed}')
    return Server(dsn, config=config, **options)


def traffic(server, seconds, get="/bench/hello", post="/bench/rows", said="some body text", connections=64):
    env = dict(os.environ, TRAFFIC_TOKEN=TOKEN, TRAFFIC_GET=get, TRAFFIC_POST=post, TRAFFIC_SAID=said)
    return subprocess.Popen(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "--latency", "-s", f"{HERE}/traffic.lua", server.url],
                            env=env, stdout=subprocess.PIPE, text=True)


def result(process):
    out = process.communicate(timeout=600)[0]
    line = next(x for x in out.splitlines() if x.startswith("TRAFFIC "))
    found = json.loads(line[8:])
    found["first_wrong"] = next((x[12:] for x in out.splitlines() if x.startswith("FIRST_WRONG ")), "")
    found["rate"] = (found["reads"] + found["writes"]) / found["seconds"]
    return found


def mapped(server, name):
    """Generations of a plugin that are mapped in the process."""
    with open(f"/proc/{server.process.pid}/maps") as f:
        return sorted({line.split()[5] for line in f if f"/{name}." in line})


def resident(server):
    with open(f"/proc/{server.process.pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def descriptors(server, database=False):
    """How many are open, the database's left out, or only those: the store's threads open theirs when they first have work."""
    count, of = 0, f"/proc/{server.process.pid}/fd"
    for each in os.listdir(of):
        try:
            count += (".db" in os.readlink(f"{of}/{each}")) == database
        except FileNotFoundError:  # closed meanwhile
            pass
    return count


def reload(server, name):
    answer = server.admin("POST", f"/admin/modules/{name}/reload")
    assert answer.status_code == 200, answer.text
    return answer.json()


def settled(server, name, seconds=10):
    """The module once no old generation is left, or as it is after that time."""
    end = time.monotonic() + seconds
    while True:
        module = server.admin("GET", f"/admin/modules/{name}").json()
        if len(module["generations"]) <= 1 or time.monotonic() > end:
            return module
        time.sleep(0.02)


def module_when(server, name, is_so, seconds=20):
    """The module as soon as it is so."""
    end = time.monotonic() + seconds
    while True:
        module = server.admin("GET", f"/admin/modules/{name}").json()
        if is_so(module):
            return module
        assert time.monotonic() < end, module
        time.sleep(0.02)


def many(server, name, times, spare=0.0, between=None):
    """Reloads it so often; returns the changes as the admin API tells them."""
    changes = []
    for i in range(times):
        if between:
            between(i)
        changes.append(reload(server, name)["last_change"])
        settled(server, name)
        time.sleep(spare)
    return changes


def spread(values):
    values = sorted(values)
    return statistics.median(values), values[min(len(values) - 1, int(len(values) * 0.99))]
