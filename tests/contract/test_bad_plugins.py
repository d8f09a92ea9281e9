"""test_bad_plugins.py - plugins that misbehave in the server itself: what can be survived is, and for the rest it says who it was."""
import json
import re
import resource
import signal
import threading
import pytest
import requests
from server import BUILD, TEST_MODULES, Server

SANITIZED = "address" in BUILD or "thread" in BUILD
CONFIG = f"""{TEST_MODULES}
plugins:
  bench: {{isolation: none}}
  bad: {{isolation: %s}}
"""
DENIED = -3


@pytest.fixture(scope="module", params=["none", "process"])
def s(request):
    """What must be survived in both modes, one server for each."""
    server = Server(config=CONFIG % request.param)
    server.mode = request.param
    yield server
    assert server.get("/bench/hello").status_code == 200
    assert next(m for m in server.get("/system/status").json()["modules"] if m["name"] == "bad").get("restarts", 0) == 0
    server.stop()


# ---- grants ---- (before the floods, which use up what the plugin may log)
def test_grants_are_held(s):
    answer = s.get("/bad/reach")
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found.pop("own") == 0
    only_apart = {k: found.pop(k) for k in ("qualified", "function", "table_made")}  # in the server a plugin could do worse
    assert set(only_apart.values()) == ({DENIED} if s.mode == "process" else {0})
    assert set(found.values()) == {DENIED}, found
    s.said("names the table accounts, which is not among the plugin's grants", "plugin=bad", "GET /bad/reach")


# ---- too much ----
def test_giant_reply_and_statement_are_refused(s):
    assert s.get("/bad/giant-reply", timeout=60).status_code == 413
    answer = s.get("/bad/giant-sql", timeout=60)
    assert answer.status_code == 200, answer.text


def test_flood_of_log_lines_is_limited(s):
    assert s.get("/bad/flood-log", timeout=60).status_code == 200
    s.said("flooding the log")
    assert s.log.count("flooding the log") < 20000


def test_flood_of_metrics_is_limited(s):
    assert s.get("/bad/flood-metrics", timeout=60).status_code == 200
    lines = [x for x in s.get("/metrics", token=None).text.splitlines() if x.startswith("bad_flood_total")]
    assert 1 <= len(lines) <= 5000, "series are limited"


# ---- what the server itself cannot survive ----
def ends(s, path, seconds=20):
    """The request is not answered, the server ends by a signal; its last words."""
    with pytest.raises(requests.ConnectionError):
        s.get(path, timeout=seconds)
    assert s.process.wait(seconds) < 0
    return s.process.returncode


@pytest.mark.skipif(SANITIZED, reason="sanitizers report crashes themselves")
def test_segfault_says_which_plugin_entry_and_build_it_was(start):
    s = start(config=CONFIG % "none")
    build = s.admin("GET", "/admin/modules/bad").json()["generations"][0]["build_id"]
    assert re.fullmatch("[0-9a-f]{40}", build)
    assert ends(s, "/bad/segfault") == -signal.SIGSEGV
    line = s.said("a plugin crashed the process", "signal=SIGSEGV", "plugin=bad", 'entry="GET /bad/segfault"', "version=1.0.0", build)
    assert re.search(r"offset=0x[0-9a-f]+ .*address=0x8\b", line)


@pytest.mark.skipif(SANITIZED, reason="sanitizers report crashes themselves")
def test_abort_and_a_used_up_stack_are_named_in_json_too(start):
    for path, name in (("/bad/abort", "SIGABRT"), ("/bad/overflow", "SIGSEGV")):
        s = start(config=CONFIG % "none", env={"LOG_FORMAT": "json"})
        assert ends(s, path) == -getattr(signal, name)
        line = json.loads(s.said("a plugin crashed the process"))
        assert line["level"] == "error" and line["signal"] == name and line["plugin"] == "bad" and line["entry"] == "GET " + path


@pytest.mark.skipif(SANITIZED, reason="sanitizers need terabytes of address space")
def test_leak_ends_the_server_at_its_limit(start):
    s = start(config=CONFIG % "none")
    resource.prlimit(s.process.pid, resource.RLIMIT_DATA, (600 << 20, 600 << 20))  # as a service manager would
    assert ends(s, "/bad/leak", 60) == -signal.SIGSEGV
    s.said("a plugin crashed the process", 'entry="GET /bad/leak"')


def test_exit_ends_the_server_with_that_code(start):
    s = start(config=CONFIG % "none")
    with pytest.raises(requests.ConnectionError):
        s.get("/bad/exit")
    assert s.process.wait(20) == 3


@pytest.mark.parametrize("path", ["/bad/loop", "/bad/block"])
def test_handler_that_holds_the_loop_is_named_by_the_watchdog(start, path):
    s = start(config=CONFIG % "none")

    def ask():
        try:
            s.request("GET", path, timeout=30)
        except requests.RequestException:
            pass  # it is never answered
    thread = threading.Thread(target=ask)
    thread.start()
    s.said("handler holds the loop", "module=bad", "GET " + path)
    s.kill()
    thread.join()
