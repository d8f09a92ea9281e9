"""test_endless_sources.py - answers that never end or cannot be unpacked, many at once: each ends as documented, others are served, memory stays."""
import os
import subprocess
import sys
import pytest
from server import BUILD, ROOT

ENDED = ("succeeded", "failed", "expired", "cancelled", "dead_letter")
CONFIG = """
plugins:
  oracle:
    config:
      timeout: 3s
      max_attempts: 1
"""
# The bad ones live at 127.0.0.2 and the good one at 127.0.0.3.
ENV = {"OUTBOUND_ALLOW_PRIVATE": None, "OUTBOUND_ALLOW": "127.0.0.2,127.0.0.3", "LOG_LEVEL": "warn"}
MIB = 1 << 20

# path of the source -> status, error_code and attempt error_class of the request
ENDS = {
    "/driphead": ("dead_letter", "timeout", "timeout"),           # a head of one byte a second
    "/endlessinterim": ("failed", "response_too_large", "too_large"),  # 103 for ever
    "/doublebomb": ("failed", "response_too_large", "too_large"),
    "/endlesschunk": ("failed", "response_too_large", "too_large"),    # the size line of a chunk
    "/endlesscomment": ("failed", "response_too_large", "too_large"),  # in a gzip header
    "/endlessblocks": ("failed", "response_too_large", "too_large"),   # empty ones, of gzip
    "/endlessheaders": ("failed", "response_too_large", "too_large"),
    "/manyheaders": ("failed", "response_too_large", "too_large"),
    "/bigheader": ("failed", "response_too_large", "too_large"),
    "/badgzip": ("dead_letter", "protocol", "protocol"),
    "/zstd": ("dead_letter", "protocol", "protocol"),
    "/close": ("dead_letter", "protocol", "protocol"),            # closes instead of answering
}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """The port of a server that misbehaves, on every loopback address."""
    program = os.path.join(ROOT, "tests", "unit", "test_fetch_server.py")
    process = subprocess.Popen([sys.executable, program, str(tmp_path_factory.mktemp("hostile"))], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    yield int(process.stdout.readline().split()[0])
    process.stdin.close()
    process.terminate()
    process.wait(20)


class Oracle:
    def __init__(self, server, port):
        self.server, self.port, self.n = server, port, 0
        self.at = f"/accounts/{server.account()}/oracle"

    def ask(self, path, host="127.0.0.2"):
        self.n += 1
        source = self.server.post(self.at + "/sources", json={"name": f"s{self.n}", "url": f"http://{host}:{self.port}{path}"})
        assert source.status_code == 201, source.text
        answer = self.server.post(self.at + "/requests", json={"source_id": source.json()["id"]})
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def end(self, request, seconds=60):
        return self.server.until(f"{self.at}/requests/{request}", lambda r: r["status"] in ENDED, seconds)


def peak_memory(server):
    """The most that was resident since the last call, then forgotten; None under a sanitizer, which keeps freed memory."""
    if BUILD.rstrip("/").endswith(("-address", "-thread", "-valgrind")):
        return None
    with open(f"/proc/{server.process.pid}/status") as f:
        peak = next(int(line.split()[1]) for line in f if line.startswith("VmHWM:")) * 1024
    with open(f"/proc/{server.process.pid}/clear_refs", "w") as f:
        f.write("5")
    return peak


def test_hostile_sources_end_as_documented_while_others_are_served(start, hostile):
    server = start(config=CONFIG, env=ENV)
    oracle = Oracle(server, hostile)
    assert oracle.end(oracle.ask("/plain", "127.0.0.3"))["result"] == "hello"
    before = peak_memory(server)
    asked = [(path, oracle.ask(path)) for path in list(ENDS) * 4]
    for _ in range(5):  # in the midst of it
        good = oracle.end(oracle.ask("/plain", "127.0.0.3"))
        assert (good["status"], good["result"]) == ("succeeded", "hello"), good
        assert server.get(oracle.at + "/requests").status_code == 200
    for path, request in asked:
        body = oracle.end(request)
        attempt = body["attempt_log"][-1]
        status, code, kind = ENDS[path]
        assert body["status"] == status and body["error"] and body["result"] is None, (path, body)
        assert (body["error_code"], attempt["error_class"]) == (code, kind), (path, body)
        assert len(body["attempt_log"]) == 1 and attempt["bytes"] <= 65535, (path, body)
    after = peak_memory(server)
    if before is not None:
        print(f"{len(asked)} hostile answers: peak memory {before / MIB:.0f} -> {after / MIB:.0f} MiB")
        assert after - before < 100 * MIB  # one bomb in full would be 50 MiB, four of them are asked at once
