"""test_sources.py - data sources that mean harm: each attempt ends in time, with its reason, and others are served meanwhile."""
import gzip
import json
import socket
import threading
import time
import reloads
from faults import Faults
from http_source import HttpSource


class Hostile:
    """A listener whose answer to each connection is a function of the socket."""

    def __init__(self, behave):
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/x"
        self.behave, self.connections, self.sent = behave, 0, 0
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                s, _ = self.socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        try:
            data = b""
            while b"\r\n\r\n" not in data:
                piece = s.recv(65536)
                if not piece:
                    return
                data += piece
            self.behave(self, s)
        except OSError:
            pass
        finally:
            s.close()

    def send(self, s, data):
        s.sendall(data)
        self.sent += len(data)


def one_byte_a_second(h, s):
    h.send(s, b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(1000):
        h.send(s, b" ")
        time.sleep(1)


def longer_than_it_says(h, s):
    h.send(s, b'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{"a":1}\nGET /admin HTTP/1.1\r\n\r\n' + b"more" * 10000)


def shorter_than_it_says(h, s):
    h.send(s, b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"a":1}')


def two_lengths(h, s):
    h.send(s, b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\nContent-Length: 9\r\n\r\n{"a":1}  ')


def huge_length(h, s):
    h.send(s, b'HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n')
    for _ in range(1000):
        h.send(s, b" " * 65536)


BOMB = gzip.compress(bytes(256 << 20), 9)


def gzip_bomb(h, s):
    h.send(s, b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB)


def endless_chunks(h, s):
    h.send(s, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        h.send(s, b"10000\r\n" + b"x" * 65536 + b"\r\n")


def endless_head(h, s):
    h.send(s, b"HTTP/1.1 200 OK\r\n")
    while True:
        h.send(s, b"X-Header: " + b"y" * 1000 + b"\r\n")


def never_answers(h, s):
    time.sleep(120)


def no_http(h, s):
    h.send(s, b"\x00\x01\x02 this is no HTTP \xff\xfe" * 100)


def to_itself(h, s):
    h.send(s, b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n")


def into_a_private_network(h, s):
    h.send(s, b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.2:9/secret\r\nContent-Length: 0\r\n\r\n")


def to_the_metadata_service(h, s):
    h.send(s, b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://169.254.169.254/latest/meta-data\r\nContent-Length: 0\r\n\r\n")


def to_a_file(h, s):
    h.send(s, b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n")


HARMLESS = {longer_than_it_says}  # what follows the body is never read
KINDS = [one_byte_a_second, longer_than_it_says, shorter_than_it_says, two_lengths, huge_length, gzip_bomb, endless_chunks, endless_head,
         never_answers, no_http, to_itself, into_a_private_network, to_the_metadata_service, to_a_file]


def test_hostile_sources_end_in_time_and_harm_nobody(start, tmp_path):
    """127.0.0.1 is allowed by the operator, everything else that is private is not. All kinds at once."""
    server = start(f"sqlite:{tmp_path}/sources.db", config="outbound: {allow: [127.0.0.1], max_bytes: 1MiB, timeout: 5s}\n",
                   env={"LOG_LEVEL": "error", "OUTBOUND_ALLOW_PRIVATE": None, "ORACLE_MAX_ATTEMPTS": "2", "ORACLE_BACKOFF": "1s"})
    good = HttpSource()
    good.answer("/good", body='{"price":7}')
    account = server.account()

    def ask(name, url):
        source = server.post(f"/accounts/{account}/oracle/sources", json={"name": name, "url": url})
        assert source.status_code == 201, source.text
        answer = server.post(f"/accounts/{account}/oracle/requests", json={"source_id": source.json()["id"]})
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    servers = {k.__name__: Hostile(k) for k in KINDS}
    began = time.monotonic()
    ids = {name: ask(name.replace("_", "-"), h.url) for name, h in servers.items()}
    for i in range(20):  # a good source is served meanwhile
        r = ask(f"good-{i}", good.url + "/good")
        assert server.until(f"/accounts/{account}/oracle/requests/{r}", lambda b: b["status"] not in ("pending", "running"), 30)["status"] == "succeeded"
    figures = {}
    for name, r in ids.items():
        body = server.until(f"/accounts/{account}/oracle/requests/{r}", lambda b: b["status"] not in ("pending", "running"), 120)
        wanted = ("succeeded",) if name in {k.__name__ for k in HARMLESS} else ("failed", "dead_letter")
        assert body["status"] in wanted, (name, body)
        figures[name] = (round(time.monotonic() - began, 1), body["status"], body["error"])
        assert body["status"] == "succeeded" or body["error"], (name, body)
    for name in ("into_a_private_network", "to_the_metadata_service", "to_a_file"):
        assert servers[name].connections >= 1
    for name, address in (("into_a_private_network", "127.0.0.2"), ("to_the_metadata_service", "169.254.169.254")):
        assert f"leads to {address}" in figures[name][2] and "does not allow" in figures[name][2], figures[name]
    assert servers["endless_chunks"].sent < 64 << 20 and servers["huge_length"].sent < 64 << 20, "far more than the limit was read"
    assert reloads.resident(server) < 200 * 1024, "the bomb was unpacked"
    assert server.get("/readyz", token=None).status_code == 200
    print(json.dumps(figures, indent=1))
    for h in servers.values():
        h.socket.close()
    good.close()


def test_name_that_changes_its_address_between_look_ups_never_leads_to_a_private_one(start, tmp_path):
    """Names in changing.test are an allowed address and a private one in turn: what is connected to is what was checked."""
    faults = Faults(tmp_path)
    server = start(config="outbound: {allow: [127.0.0.1]}\n",
                   env={"LOG_LEVEL": "error", "OUTBOUND_ALLOW_PRIVATE": None, "ORACLE_MAX_ATTEMPTS": "1", **faults.env})
    allowed = Hostile(lambda h, s: h.send(s, b'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 7\r\n\r\n{"a":1}'))
    port = allowed.socket.getsockname()[1]
    private, reached = socket.create_server(("127.0.0.2", port)), []
    threading.Thread(target=lambda: reached.append(private.accept()), daemon=True).start()
    account, ends = server.account(), []
    for i in range(12):  # a name of its own each: an address that was looked up is remembered for a while
        source = server.post(f"/accounts/{account}/oracle/sources", json={"name": f"c{i}", "url": f"http://n{i}.changing.test:{port}/x"}).json()["id"]
        r = server.post(f"/accounts/{account}/oracle/requests", json={"source_id": source}).json()["id"]
        body = server.until(f"/accounts/{account}/oracle/requests/{r}", lambda b: b["status"] not in ("pending", "running"), 30)
        ends.append(body["status"])
        assert body["status"] == "succeeded" or "leads to 127.0.0.2" in body["error"], body
    assert "succeeded" in ends and faults.lookups() >= 12 and set(ends) != {"succeeded"}, (ends, faults.lookups())
    assert not reached, "the private address was connected to"
    private.close()
