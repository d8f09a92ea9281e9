"""test_network.py - the network between server and database is cut by namespaces, PostgreSQL and child processes are killed with -9: no hang, no lost write, back by itself."""
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import threading
import time
import pytest
from server import TOKEN, Server
from test_crash import SEED, Writers, every_account

HOST, INSIDE = "10.213.7.1", "10.213.7.2"  # addresses of the test's own namespace


class OverUnix(http.client.HTTPConnection):
    """HTTP over the server's Unix socket, which no cut of the network touches."""

    def __init__(self, path, timeout=25):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def ask(path, method, target, body=None):
    connection = OverUnix(path)
    connection.request(method, target, json.dumps(body) if body is not None else None,
                       {"Authorization": "Bearer " + TOKEN, "Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), text


@pytest.fixture
def apart(postgres):
    """A network namespace that reaches PostgreSQL over a veth pair only; cut(True) takes the pair down."""
    name, here, there = f"sl{os.getpid()}", f"slh{os.getpid() % 100000}", f"sln{os.getpid() % 100000}"
    port = postgres.run("port", postgres.dir)

    def ip(*args, check=True):
        return subprocess.run(["ip", *args], check=check, capture_output=True, text=True)

    if ip("netns", "add", name, check=False).returncode:
        pytest.skip("making a network namespace needs root")
    try:
        ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", name)
        ip("addr", "add", f"{HOST}/30", "dev", here)
        ip("link", "set", here, "up")
        for args in (("addr", "add", f"{INSIDE}/30", "dev", there), ("link", "set", there, "up"), ("link", "set", "lo", "up")):
            ip("-n", name, *args)
        with open(f"{postgres.dir}/data/pg_hba.conf", "a") as f:
            f.write(f"host all all {INSIDE}/32 trust\n")
        with open(f"{postgres.dir}/data/postgresql.conf", "a") as f:
            f.write("listen_addresses = '*'\n")
        postgres.stop()
        postgres.start()

        class Apart:
            prefix = ["ip", "netns", "exec", name]

            @staticmethod
            def dsn():
                database = postgres.database().split("?")[0].rsplit("/", 1)[1]
                return f"postgres://postgres@{HOST}:{port}/{database}?sslmode=disable"

            @staticmethod
            def cut(yes):
                ip("link", "set", here, "down" if yes else "up")

        yield Apart
    finally:
        ip("netns", "del", name, check=False)
        ip("link", "del", here, check=False)


class ServerApart(Server):
    """In the namespace, listening on a Unix socket."""

    def __init__(self, apart, dsn):
        self.apart = apart
        super().__init__(dsn, env={"LOG_LEVEL": "error", "JOBS_LEASE": "2s", "DATABASE_CONNECT_TIMEOUT": "2s"}, wait=False)

    def start(self, wait=True):
        self.socket = self.dir + "/socket"
        self.args = [*self.apart.prefix, self.args[0], "-addr", "unix:" + self.socket, *self.args[3:]]
        super().start(False)
        end = time.monotonic() + 30
        while True:
            try:
                if ask(self.socket, "GET", "/readyz")[0] == 200:
                    return self
            except OSError:
                pass
            assert self.process.poll() is None and time.monotonic() < end, self.log
            time.sleep(0.05)


def test_cut_between_replicas_and_database_hangs_nothing_and_loses_nothing(apart):
    """Two replicas write for some seconds, during which every packet is lost for 5 s."""
    dsn = apart.dsn()
    servers = [ServerApart(apart, dsn), ServerApart(apart, dsn)]
    stop, good, refused, wrong = threading.Event(), [], [], []

    def client(server):
        while not stop.is_set():
            began = time.monotonic()
            try:
                status, headers, text = ask(server.socket, "POST", "/accounts", {"owner": "x"})
            except OSError as e:
                wrong.append(repr(e))
                continue
            if status == 201:
                good.append((time.monotonic(), json.loads(text)["id"]))
            elif status in (503, 504):
                refused.append(time.monotonic() - began)
            else:
                wrong.append((status, text))

    threads = [threading.Thread(target=client, args=(s,)) for s in servers for _ in range(8)]
    [t.start() for t in threads]
    try:
        time.sleep(1.5)
        apart.cut(True)
        time.sleep(5)
        assert ask(servers[0].socket, "GET", "/livez")[0] == 200
        apart.cut(False)
        back = time.monotonic()
        end = back + 40
        while not any(t > back for t, _ in good) and time.monotonic() < end:
            time.sleep(0.1)
        time.sleep(2)
    finally:
        stop.set()
        [t.join(40) for t in threads]
    assert not wrong, wrong[:5]
    after = [t for t, _ in good if t > back]
    assert after, "no write succeeded after the network was back"
    found, path = set(), "/accounts?limit=500"
    while path:
        status, headers, text = ask(servers[1].socket, "GET", path)
        assert status == 200
        found |= {i["id"] for i in json.loads(text)["items"]}
        cursor = json.loads(text)["next_cursor"]
        path = f"/accounts?limit=500&cursor={cursor}" if cursor else None
    assert {i for _, i in good} <= found
    for s in servers:
        s.stop()
    print(f"{len(good)} writes, {len(refused)} refused, the longest after {max(refused or [0]):.1f} s; first write {min(after) - back:.1f} s after the network was back")


def test_postgres_killed_at_random_points_loses_nothing(postgres, start):
    """kill -9 of a back end, then of the whole server (immediate stop), several times under load."""
    rng = random.Random(SEED)
    server = start(postgres.database(), env={"LOG_LEVEL": "error"})
    writers, killed = Writers(server), 0
    try:
        for i in range(6):
            time.sleep(rng.uniform(0.3, 0.9))
            if i % 2:
                postgres.run("stop", postgres.dir, "immediate")
                postgres.start()
            else:
                backends = subprocess.run(["pgrep", "-f", r"postgres: postgres t\d*"], capture_output=True, text=True).stdout.split()
                mine = [p for p in backends if postgres_dir(p, postgres)]
                if mine:
                    os.kill(int(rng.choice(mine)), signal.SIGKILL)
                    killed += 1
        before = len(writers.acknowledged)
        end = time.monotonic() + 30
        while len(writers.acknowledged) <= before and time.monotonic() < end:
            time.sleep(0.1)
        assert len(writers.acknowledged) > before, "no write succeeded after the last kill"
    finally:
        writers.end()
    end = time.monotonic() + 20
    while server.get("/readyz", token=None).status_code != 200 and time.monotonic() < end:
        time.sleep(0.1)
    found = every_account(server)
    assert not [i for i, owner in writers.acknowledged.items() if found.get(i) != owner]
    assert killed > 0 or os.geteuid() != 0, "no back end was found to kill"
    print(f"{len(writers.acknowledged)} writes over {killed} killed back ends and 3 of the whole server")


def postgres_dir(pid, cluster):
    """Is it a process of this cluster, not of another one on the machine?"""
    try:
        return os.path.realpath(os.readlink(f"/proc/{pid}/cwd")).startswith(os.path.realpath(cluster.dir))
    except OSError:
        return False


def test_child_process_killed_at_random_points_loses_nothing(tmp_path, start):
    """The accounts plugin runs in a child that is killed with -9 under load: 503 meanwhile, each acknowledged write is there."""
    rng = random.Random(SEED)
    server = start(f"sqlite:{tmp_path}/child.db", env={"LOG_LEVEL": "error"}, config="plugins: {accounts: {isolation: process}}\n")

    def child():
        return server.admin("GET", "/admin/modules/accounts").json()["process"]

    writers, kills = Writers(server), 0
    try:
        while kills < 4:  # five crashes in a minute are a quarantine
            time.sleep(rng.uniform(0.2, 0.6))
            pid = child()["pid"]
            if pid:
                os.kill(pid, signal.SIGKILL)
                kills += 1
            end = time.monotonic() + 20
            while child()["pid"] in (0, pid, None) and time.monotonic() < end:
                time.sleep(0.02)
        before = len(writers.acknowledged)
        end = time.monotonic() + 20
        while len(writers.acknowledged) <= before and time.monotonic() < end:
            time.sleep(0.1)
        assert len(writers.acknowledged) > before
    finally:
        writers.end()
    found = every_account(server)
    assert not [i for i, owner in writers.acknowledged.items() if found.get(i) != owner]
    assert child()["crashes"] == 4
    print(f"{len(writers.acknowledged)} writes over {kills} kills of the child")
