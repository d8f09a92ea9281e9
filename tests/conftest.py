"""conftest.py - fixtures of the black-box suites: a database cluster, a server on each store, an HTTP source."""
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "lib"))
os.environ.setdefault("CHECK_ANSWERS", "true")  # servers of tests compare their answers with the tables
from http_source import HttpSource  # noqa: E402
from server import Server  # noqa: E402

numbers = itertools.count(1)


class Postgres:
    """A private PostgreSQL cluster in a temporary directory; each database() is a new, empty one."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="sl-pg-")
        self.base = None
        self.start()

    def run(self, *args):
        return subprocess.run([os.path.join(HERE, "lib", "postgres"), *args], check=True, capture_output=True, text=True,
                              timeout=120).stdout.strip()

    def start(self):
        self.base = self.run("start", self.dir)

    def stop(self):
        self.run("stop", self.dir)

    def database(self):
        name = f"t{os.getpid()}_{next(numbers)}"
        import psycopg2
        connection = psycopg2.connect(self.base)
        connection.autocommit = True
        connection.cursor().execute(f"create database {name}")
        connection.close()
        head, _, query = self.base.partition("?")
        dsn = head.rsplit("/", 1)[0] + "/" + name
        return dsn + ("?" + query if query else "")


@pytest.fixture(scope="session")
def postgres():
    cluster = Postgres()
    yield cluster
    cluster.stop()
    shutil.rmtree(cluster.dir, ignore_errors=True)


@pytest.fixture(scope="session", params=["memory", "sqlite", "postgres"])
def store(request):
    """The three stores, by name."""
    return request.param


def new_dsn(store, request, directory):
    if store == "postgres":
        return request.getfixturevalue("postgres").database()
    return "" if store == "memory" else f"sqlite:{directory}/test.db"


@pytest.fixture
def dsn(store, request, tmp_path):
    """A fresh data source name on each store."""
    return new_dsn(store, request, tmp_path)


@pytest.fixture(scope="module")
def server(store, request, tmp_path_factory):
    """A running server on each store, shared by the tests of a file, which may name a SERVER_ENV and a SERVER_CONFIG."""
    env, config = (getattr(request.module, name, None) for name in ("SERVER_ENV", "SERVER_CONFIG"))
    s = Server(new_dsn(store, request, tmp_path_factory.mktemp("db")), env=env, config=config)
    s.store = store
    yield s
    s.stop()


@pytest.fixture(scope="session")
def http_source():
    source = HttpSource()
    yield source
    source.close()


@pytest.fixture
def start(request):
    """start(...) makes a Server with the arguments given; all are stopped (and checked) at the end of the test."""
    servers = []

    def make(*args, **more):
        s = Server(*args, **more)
        servers.append(s)
        return s

    yield make
    problems = []
    for s in servers:
        if s.process.poll() is None:
            try:
                s.stop()
            except AssertionError as e:
                problems.append(e)
    if problems:
        raise problems[0]
