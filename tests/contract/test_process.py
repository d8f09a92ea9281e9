"""test_process.py - the server as a process: exit codes, signals, drain, the service manager, what it says about its configuration."""
import os
import select
import signal
import socket
import subprocess
import threading
import time
import pytest
from server import APPSERVER, TOKEN, until
from test_contract import SERVER_CONFIG as CONFIG


def run(*args, env=None, seconds=30):
    base = {"PATH": os.environ["PATH"]} | {k: v for k, v in os.environ.items() if "SAN_OPTIONS" in k}
    return subprocess.run([APPSERVER, *args], env=base | (env or {}), capture_output=True, text=True, timeout=seconds, cwd="/")


# ---- exit codes ----
def test_version_and_help():
    done = run("-version")
    assert done.returncode == 0 and done.stdout.startswith("appserver ")
    done = run("-help")
    assert done.returncode == 0 and "-migrate-only" in done.stdout and "LISTEN_ADDR" in done.stdout


def test_bad_flag_ends_with_2():
    done = run("-adr", "127.0.0.1:0")
    assert done.returncode == 2 and "adr" in done.stderr


def test_durable_store_without_a_key_ends_with_2(tmp_path):
    done = run("-dsn", f"sqlite:{tmp_path}/a.db", env={"API_TOKENS": "t"})
    assert done.returncode == 2 and "SECRET_ENCRYPTION_KEY" in done.stderr
    assert not (tmp_path / "a.db").exists(), "nothing was touched"


def test_bad_key_ends_with_2_and_is_not_shown():
    done = run("-check", env={"SECRET_ENCRYPTION_KEY": "hex:00112233445566"})
    assert done.returncode == 2 and "00112233445566" not in done.stderr + done.stdout


def test_check_of_a_good_configuration():
    done = run("-check", env={"API_TOKENS": "t"})
    assert done.returncode == 0 and "good" in done.stdout, done.stderr


def test_check_prints_errors_of_host_and_plugins_at_once(tmp_path):
    config = tmp_path / "bad.yaml"
    config.write_text("server:\n  prot: 1\nplugins:\n  oracle:\n    config:\n      max_attempts: 0\n")
    done = run("-check", "-config", str(config))
    assert done.returncode == 2
    assert f"{config}:2: server.prot: unknown key, did you mean `port`?" in done.stderr
    assert f"{config}:6: plugins.oracle.config.max_attempts" in done.stderr


def test_store_that_cannot_be_opened_ends_with_1():
    done = run("-addr", "127.0.0.1:0", "-dsn", "sqlite:/nowhere/at/all.db", env={"SECRET_ENCRYPTION_KEY": "00" * 16})
    assert done.returncode == 1 and "/nowhere" in done.stderr


def test_port_that_is_taken_ends_with_1():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        done = run("-addr", "127.0.0.1:%d" % s.getsockname()[1])
    assert done.returncode == 1 and "cannot listen" in done.stderr


def test_migrate_only_migrates_and_ends(tmp_path):
    dsn = f"sqlite:{tmp_path}/a.db"
    env = {"SECRET_ENCRYPTION_KEY": "00" * 16}
    done = run("-dsn", dsn, "-migrate-only", env=env)
    assert done.returncode == 0 and "migrations are applied" in done.stderr, done.stderr
    import sqlite3
    tables = {r[0] for r in sqlite3.connect(tmp_path / "a.db").execute("select name from sqlite_master where type = 'table'")}
    assert {"accounts", "secrets"} <= tables


def test_pending_migrations_without_migrate_end_with_1(tmp_path):
    done = run("-addr", "127.0.0.1:0", "-dsn", f"sqlite:{tmp_path}/a.db", "-migrate=false", env={"SECRET_ENCRYPTION_KEY": "00" * 16})
    assert done.returncode == 1 and "pending" in done.stderr and "-migrate-only" in done.stderr, done.stderr


def test_production_sins_are_named(start):
    s = start(env={"API_TOKENS": "", "ADMIN_TOKENS": "", "SECRET_ENCRYPTION_KEY": ""})
    for says in ("lost at exit", "no tokens are configured", "random key"):
        s.said(says)
    s = start(env={"API_TOKENS": "dev-token"})
    s.said("a development token is in use")


# ---- signals ----
def raw(server, path):
    s = socket.create_connection(("127.0.0.1", server.port))
    s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
    return s


def answer(s):
    data = b""
    s.settimeout(20)
    while True:
        piece = s.recv(65536)
        data += piece
        if not piece or (b"\r\n\r\n" in data and b"Content-Length: " in data):
            return data


def test_stop_lets_requests_in_flight_finish(start):
    s = start(config=CONFIG)
    idle = raw(s, "/hello")
    assert b"200 OK" in answer(idle)
    busy = raw(s, "/probe/hold?ms=1200")
    s.under_way(1)
    s.process.send_signal(signal.SIGTERM)
    assert answer(busy).startswith(b"HTTP/1.1 204"), "the request in flight was cut"
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", s.port), timeout=2)
    assert s.process.wait(10) == 0 and "probe stops" in s.log and "stopped" in s.log


def test_drain_has_an_end(start):
    """A call that outlives the drain is cut, the stop goes on."""
    s = start(config=CONFIG + "server:\n  timeouts:\n    drain: 300ms\n")
    held = raw(s, "/probe/hold-long")
    s.under_way(1)
    began = time.monotonic()
    s.process.send_signal(signal.SIGTERM)
    assert s.process.wait(15) == 0 and time.monotonic() - began < 14
    held.close()


def test_second_signal_stops_at_once(start):
    s = start(config=CONFIG)
    held = raw(s, "/probe/hold-long")
    s.under_way(1)
    s.process.send_signal(signal.SIGTERM)
    until(lambda: "stopping" in s.log)
    s.process.send_signal(signal.SIGINT)
    assert s.process.wait(10) == 0 and "second signal" in s.log
    held.close()


def test_signal_while_starting(start, tmp_path):
    """A store that does not answer does not hold the stop."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        s = start(dsn="postgres://u:p@127.0.0.1:%d/x" % deaf.getsockname()[1], wait=False)
        time.sleep(0.5)
        assert s.process.poll() is None, s.log
        s.process.send_signal(signal.SIGTERM)
        assert s.process.wait(10) == 0, s.log


def test_hangup_without_a_certificate_is_harmless(start):
    s = start()
    s.process.send_signal(signal.SIGHUP)
    until(lambda: "SIGHUP" in s.log)
    assert s.get("/readyz", token=None).status_code == 200


def test_service_manager_is_told(start, tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(10)
        s = start(env={"NOTIFY_SOCKET": path})
        assert manager.recv(100) == b"READY=1"
        s.process.send_signal(signal.SIGTERM)
        assert manager.recv(100) == b"STOPPING=1"
        assert s.process.wait(10) == 0


def test_a_bad_key_is_said_once():
    done = run("-check", env={"SECRET_ENCRYPTION_KEY": "short"})
    assert done.returncode == 2 and done.stderr.count("is not 16, 24 or 32 bytes") == 1, done.stderr


def test_service_manager_hears_that_the_loop_turns(start, tmp_path):
    """The unit's WatchdogSec: half of it apart, and not when the variable is for another process."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(20)
        s = start(env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "100000"})
        assert [manager.recv(100) for _ in range(4)] == [b"READY=1"] + 3 * [b"WATCHDOG=1"]
        s.process.send_signal(signal.SIGSTOP)  # a loop that stands still says nothing
        while select.select([manager], [], [], 1)[0]:
            manager.recv(100)
        s.process.send_signal(signal.SIGCONT)
        assert manager.recv(100) == b"WATCHDOG=1"
        s.process.send_signal(signal.SIGTERM)
        said = [manager.recv(100)]
        while said[-1] != b"STOPPING=1":
            said.append(manager.recv(100))
        assert s.process.wait(10) == 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path + "2")
        manager.settimeout(20)
        s = start(env={"NOTIFY_SOCKET": path + "2", "WATCHDOG_USEC": "10000", "WATCHDOG_PID": "1"})
        assert manager.recv(100) == b"READY=1"
        s.stop()
        assert manager.recv(100) == b"STOPPING=1"


def test_stop_under_load_loses_no_answer(start):
    """Every request that was sent whole before the stop gets its answer or a closed connection, never a wrong one."""
    s = start(config=CONFIG)
    wrong, answered, stop = [], [0], threading.Event()

    def client():
        while not stop.is_set():
            try:
                a = s.get("/hello", timeout=5)
            except OSError:  # requests' errors are such
                return
            if a.status_code != 200 or a.json() != {"hello": "world"}:
                wrong.append((a.status_code, a.text))
            answered[0] += 1

    threads = [threading.Thread(target=client) for _ in range(8)]
    for t in threads:
        t.start()
    time.sleep(0.5)
    s.process.send_signal(signal.SIGTERM)
    assert s.process.wait(15) == 0
    stop.set()
    for t in threads:
        t.join()
    assert answered[0] > 50 and not wrong, wrong[:3]
