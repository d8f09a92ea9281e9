"""test_leaving.py - clients that leave at any point: nothing breaks, nothing stays behind, what they had begun is ended."""
import random
import re
import socket
import threading
import time
import pytest
from server import TEST_MODULES, TOKEN, Server, until

CONFIG = f"""{TEST_MODULES}
plugins:
  probe: {{enabled: true}}
"""
HEAD = f"Authorization: Bearer {TOKEN}\r\nHost: x\r\n".encode()
JSON = b"Content-Type: application/json\r\n"


@pytest.fixture()
def server(tmp_path):
    s = Server(f"sqlite:{tmp_path}/test.db", config=CONFIG)
    yield s
    s.stop()


def send(server, data, stay=0.0):
    with socket.create_connection(("127.0.0.1", server.port)) as s:
        s.sendall(data)
        time.sleep(stay)


def gauge(server, name):
    return int(float(re.search(rf"^{name} (\S+)$", server.get("/metrics", token=None).text, re.M).group(1)))


def test_a_client_that_leaves_ends_its_call(server):
    began = time.monotonic()
    send(server, b"GET /probe/hold-long HTTP/1.1\r\n" + HEAD + b"\r\n", 0.05)
    while gauge(server, "http_requests_in_flight") > 1:  # the one that asks
        assert time.monotonic() - began < 15  # it does not wait to its end
        time.sleep(0.02)
    server.said("route=/probe/hold-long ", "status=499 ")


def test_leaving_anywhere_leaves_nothing_behind(server):
    def leave(seed):
        pick = random.Random(seed)
        for _ in range(60):
            what = pick.random()
            if what < 0.3:
                send(server, b"GET /probe/core HTTP/1.1\r\n" + HEAD + b"\r\n", pick.random() * 0.03)
            elif what < 0.5:  # in the body
                send(server, b"POST /accounts HTTP/1.1\r\nContent-Length: 100\r\n" + JSON + HEAD + b'\r\n{"own', pick.random() * 0.01)
            elif what < 0.7:  # in a stream
                send(server, b"GET /probe/stream HTTP/1.1\r\n" + HEAD + b"\r\n", pick.random() * 0.03)
            elif what < 0.85:  # around the commit
                key = b"Idempotency-Key: %d\r\n" % pick.randint(0, 9)
                send(server, b"POST /accounts HTTP/1.1\r\nContent-Length: 13\r\n" + key + JSON + HEAD + b'\r\n{"owner":"a"}',
                     pick.random() * 0.002)
            else:  # with another request behind
                send(server, b"GET /accounts HTTP/1.1\r\n" + HEAD + b"\r\nGET /x HTTP/1.1\r\n" + HEAD + b"\r\n", pick.random() * 0.002)

    threads = [threading.Thread(target=leave, args=(i,)) for i in range(6)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    until(lambda: gauge(server, "http_requests_in_flight") <= 1 and gauge(server, "fibers_running") <= 4)
    assert server.account() and not re.search(r" error |ERROR", server.log)


def test_a_body_over_the_limit_is_logged_with_its_route(server):
    send(server, b"POST /accounts HTTP/1.1\r\nContent-Length: 100000000\r\n" + JSON + HEAD + b"\r\n", 0.2)
    server.said("method=POST route=/accounts ", "status=413 ")
