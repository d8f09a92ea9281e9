"""test_clients.py - clients that are slow, half open, or many: they are cut or carried, and the others do not notice."""
import resource
import selectors
import socket
import struct
import threading
import time
import pytest
import reloads
import requests
from server import BUILD, ROOT, TOKEN

IDLE, ACTIVE = 10000, 2000
CONFIG = f'''modules: {{dirs: ["{BUILD}/plugins", "{BUILD}/test-plugins"], migration_dirs: ["{ROOT}/migrations", "{ROOT}/tests/contract/plugins/migrations"], isolation: none}}
plugins: {{bench: {{enabled: true}}}}
server: {{max_connections: 14000, timeouts: {{header: 2s, body: 4s, idle: %s, write: 2s}}, body_min_rate: 1KiB}}
'''


def connect(server):
    s = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    s.setblocking(False)
    return s


def cut(sockets, seconds, feed=None):
    """Feeds all of them until each was closed by the server; returns the answers' first bytes, b'' for those cut without one."""
    left, answers, end = {s: b"" for s in sockets}, [], time.monotonic() + seconds
    while left and time.monotonic() < end:
        for s in list(left):
            try:
                if feed:
                    s.send(feed)
            except (BrokenPipeError, ConnectionResetError, BlockingIOError):
                pass
            try:
                data = s.recv(65536)
            except BlockingIOError:
                continue
            except ConnectionResetError:
                data = b""
            if data:
                left[s] += data
                continue
            answers.append(left.pop(s)[:20])
            s.close()
        time.sleep(0.1)
    assert not left, f"{len(left)} of {len(sockets)} clients are still connected after {seconds} s"
    return answers


@pytest.fixture
def server(start):
    return start(config=CONFIG % "3s", env={"LOG_LEVEL": "error"})


def served(server, stop, found):
    """A good client meanwhile, on a connection of its own each time: how long each answer took."""
    while not stop.is_set():
        began = time.monotonic()
        answer = requests.get(server.url + "/bench/hello", headers={"Authorization": "Bearer " + TOKEN}, timeout=20)
        found.append((answer.status_code, time.monotonic() - began))
        time.sleep(0.01)


def test_slow_and_half_open_clients_are_cut_and_others_served(server):
    """200 of each kind: heads byte by byte (slow-loris), bodies byte by byte, nothing at all, half a head, connections reset; 20 that read no answers."""
    stop, found = threading.Event(), []
    good = threading.Thread(target=served, args=(server, stop, found))
    good.start()
    n = 200
    head = f"POST /bench/rows HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
    try:
        kinds = {}
        for name, first in (("silent", b""), ("half a head", head[:40].encode()), ("slow head", b"GET /bench/hello HTTP/1.1\r\nHost: x\r\nX-A: "),
                            ("slow body", (head + "Content-Length: 100000\r\n\r\n").encode())):
            kinds[name] = [connect(server) for _ in range(n)]
            for s in kinds[name]:
                s.send(first)
        unread = [connect(server) for _ in range(20)]
        for s in unread:  # pipelines requests for 8 MB and reads none of the answers
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 400)
        for s in [connect(server) for _ in range(n)]:
            s.send(head.encode())
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()  # a reset
        assert {a[:12] for a in cut(kinds["slow head"], 30, b"a")} == {b"HTTP/1.1 408"}
        assert {a[:12] for a in cut(kinds["slow body"], 30, b"a")} == {b"HTTP/1.1 408"}
        assert {a[:12] for a in cut(kinds["half a head"], 30)} == {b"HTTP/1.1 408"}
        assert set(cut(kinds["silent"], 30)) <= {b"", b"HTTP/1.1 408 Request"[:20]}
        end = time.monotonic() + 30
        while reloads.descriptors(server) > 60 and time.monotonic() < end:
            time.sleep(0.1)
        assert reloads.descriptors(server) <= 60, "connections of clients that are gone or do not read"
        [s.close() for s in unread]
    finally:
        stop.set()
        good.join()
    assert len(found) > 20 and {status for status, _ in found} == {200}
    slowest = max(took for _, took in found)
    print(f"{len(found)} good answers meanwhile, the slowest took {slowest * 1000:.0f} ms")


def test_ten_thousand_idle_and_two_thousand_active_connections(start):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < IDLE + ACTIVE + 500:
        pytest.skip(f"only {hard} descriptors are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = start(config=CONFIG % "300s", env={"LOG_LEVEL": "error"})
    ask = f"GET /bench/hello HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
    before, idle = reloads.resident(server), []

    def ask_all(sockets):
        """Each asks once and gets its answer."""
        selector, waiting = selectors.DefaultSelector(), len(sockets)
        for s in sockets:
            s.send(ask)
            selector.register(s, selectors.EVENT_READ)
        end = time.monotonic() + 60
        while waiting and time.monotonic() < end:
            for key, _ in selector.select(1):
                data = key.fileobj.recv(4096)
                assert data.startswith(b"HTTP/1.1 200"), data[:200]
                selector.unregister(key.fileobj)
                waiting -= 1
        selector.close()
        assert not waiting, f"{waiting} of {len(sockets)} got no answer"

    try:
        while len(idle) < IDLE:
            idle += [connect(server) for _ in range(500)]
            ask_all(idle[-500:])
        each = (reloads.resident(server) - before) * 1024 / IDLE
        found = reloads.result(reloads.traffic(server, 5, connections=ACTIVE))
        assert found["wrong"] == 0 and found["errors"] == 0, found
        assert found["reads"] > ACTIVE and found["writes"] > ACTIVE / 2
        ask_all(idle)  # they are still there
        assert each < 8192, f"{each:.0f} bytes for each idle connection"
        print(f"{each:.0f} bytes for each of {IDLE} idle connections; {found['rate']:,.0f} requests/s over {ACTIVE} active ones beside them, "
              f"p99 {found['p99_us'] / 1000:.0f} ms")
    finally:
        for s in idle:
            s.close()
