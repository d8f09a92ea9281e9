"""test_isolation.py - plugins in child processes: whatever they do the host lives, says what happened and serves everybody else."""
import errno
import os
import re
import signal
import threading
import time
import pytest
import reloads
import traps
from server import BUILD, TEST_MODULES, until

SANITIZED = "address" in BUILD or "thread" in BUILD
CONFIG = f"""{TEST_MODULES}
  process_memory: 256MiB
plugins:
  bench: {{isolation: none}}
  bad: {{isolation: process}}
"""


# A crash on purpose is no finding of a sanitizer.
QUIET = {name: os.environ.get(name, "") + ":handle_segv=0:handle_abort=0" for name in ("ASAN_OPTIONS", "TSAN_OPTIONS")}


@pytest.fixture
def s(start):
    """A server with the bad plugin in a child process. It must still be there, and serve others, at the end."""
    server = start(config=CONFIG, env=QUIET)
    pid = server.process.pid
    server.children_crash = True
    yield server
    assert server.process.poll() is None and server.process.pid == pid, server.log[-3000:]
    assert server.get("/bench/hello").status_code == 200
    assert server.account()


def module(s, name="bad"):
    return next(m for m in s.get("/system/status").json()["modules"] if m["name"] == name)


def back(s, seconds=20):
    """Waits until the plugin answers again."""
    end = time.monotonic() + seconds
    while s.get("/bad/ok").status_code != 200:
        assert time.monotonic() < end, s.log[-3000:]
        time.sleep(0.02)


def gone(pid):
    """Ended: at most a zombie that nobody has asked for."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def beside(s, path, other="/livez"):
    """The status of a request that takes its time, and how many others were answered meanwhile."""
    done, others = [], 0
    thread = threading.Thread(target=lambda: done.append(s.request("GET", path, timeout=60).status_code))
    thread.start()
    while not done:
        assert s.get(other).status_code == 200
        others += 1
    thread.join()
    return done[0], others


def crashes(s, path, reason, status=503):
    answer = s.get(path, timeout=60)
    assert answer.status_code == status, answer.text
    if status == 503:
        assert int(answer.headers["Retry-After"]) >= 1
    back(s)
    m = module(s)
    assert re.search(reason, m["last_crash"]), m["last_crash"]
    return m


# ---- crashes ----
def test_it_runs_as_somebody_else_in_a_process_of_its_own(s):
    m = module(s)
    assert m["isolation"] == "process" and m["pid"] != s.process.pid and m["resident_bytes"] > 0 and m["restarts"] == 0
    assert m["quarantined"] is False and m["last_crash"] is None
    with open(f"/proc/{m['pid']}/status") as f:
        fields = dict(line.split(":\t", 1) for line in f.read().splitlines() if ":\t" in line)
    if os.getuid() == 0:
        assert fields["Uid"].split()[0] == "65534"
    assert fields["NoNewPrivs"] == "1" and int(fields["CapEff"], 16) == 0
    if not SANITIZED:
        assert fields["Seccomp"] == "2"


def test_segfault_rolls_back_and_the_plugin_comes_back(s):
    before = module(s)
    m = crashes(s, "/bad/segfault", "signal 11")
    assert m["restarts"] == 1 and m["pid"] != before["pid"] and m["crashed_at"]
    assert s.get("/bad/rows").json() == {"rows": 0}, "the row was written by a call that never ended"
    s.said("plugin's process ended", "plugin=bad")
    s.said("plugin's process is back", "plugin=bad")


def test_other_calls_in_a_dead_child_are_told_to_come_back(s):
    answers = []
    waiting = [threading.Thread(target=lambda: answers.append(s.request("GET", "/bad/slow").status_code)) for _ in range(5)]
    for t in waiting:
        t.start()
    s.under_way(5)
    assert s.get("/bad/segfault").status_code == 503
    for t in waiting:
        t.join()
    assert answers == [503] * 5
    back(s)


def test_an_idempotent_entry_is_repeated_once(s):
    assert s.get("/bad/arm").status_code == 204
    assert s.get("/bad/flaky").status_code == 503
    back(s)
    assert s.get("/bad/arm").status_code == 204
    answer = s.get("/bad/flaky-idempotent")
    assert answer.status_code == 200 and answer.json() == {"ok": True}
    assert module(s)["restarts"] == 2


def test_exit_abort_and_a_used_up_stack(s):
    crashes(s, "/bad/exit", "exit status 3")
    if SANITIZED:
        return
    crashes(s, "/bad/abort", "signal 6")
    crashes(s, "/bad/overflow", "signal 11")
    for path, name in (("/bad/abort", "SIGABRT"), ("/bad/overflow", "SIGSEGV")):  # the child's own last words
        s.said("a plugin crashed the process", f"signal={name}", "plugin=bad", f'entry="GET {path}"')
    s.said("plugin's process ended", "build=" + s.admin("GET", "/admin/modules/bad").json()["generations"][0]["build_id"])


def test_killed_from_outside(s):
    os.kill(module(s)["pid"], signal.SIGKILL)
    until(lambda: module(s)["restarts"] == 1)
    back(s)
    assert "signal 9" in module(s)["last_crash"]


def test_quarantine_after_five_crashes(s):
    for _ in range(4):
        assert s.get("/bad/segfault").status_code == 503
        back(s)
    assert s.get("/bad/segfault").status_code == 503
    until(lambda: module(s)["quarantined"])
    answer = s.get("/bad/ok")
    assert answer.status_code == 503 and "Retry-After" in answer.headers
    m = module(s)
    assert m["quarantined"] and m["pid"] is None and m["restarts"] == 5 and "quarantined" in m["error"] and not m["ready"]
    s.said("crashed too often and is quarantined", "plugin=bad")
    checks = {c["name"]: c for c in s.get("/readyz?verbose", token=None).json()["checks"]}
    assert checks["bad"]["quarantined"] and not checks["bad"]["ready"] and checks["bad"]["restarts"] == 5
    assert s.get("/readyz", token=None).status_code == 200, "it is not required"
    assert s.get("/healthz", token=None).status_code == 503
    answer = s.admin("POST", "/admin/modules/bad/reload")
    assert answer.status_code == 200, answer.text
    back(s)
    assert not module(s)["quarantined"]


# ---- what does not come back ----
@pytest.mark.parametrize("path", ["/bad/loop", "/bad/block"])
def test_handler_that_never_returns_is_ended_after_its_deadline(s, path):
    status, others = beside(s, path)
    assert status == 504 and others > 1, "the host itself must not wait"
    back(s)
    assert "did not return after its deadline" in module(s)["last_crash"]


@pytest.mark.skipif(SANITIZED, reason="sanitizers need terabytes of address space")
def test_memory_is_limited(s):
    crashes(s, "/bad/leak", "signal 11")


def test_client_that_leaves_cancels_the_call_in_the_child(s):
    import socket
    sock = socket.create_connection(("127.0.0.1", s.port))
    sock.sendall(b"GET /bad/slow HTTP/1.1\r\nHost: x\r\n\r\n")
    s.under_way(1)
    sock.close()
    s.said("status=499", "/bad/slow")
    assert module(s)["restarts"] == 0


# ---- too much ----
def test_flood_of_metrics_holds_up_nobody_else(s):
    status, others = beside(s, "/bad/flood-metrics")
    assert status == 200 and others > 1


# ---- lies on the socket ----
@pytest.mark.parametrize("path,reason", [("/bad/garbage", "no frame"), ("/bad/second-ready", "out of turn"), ("/bad/hosts-word", "out of turn")])
def test_malformed_frames_end_the_child(s, path, reason):
    crashes(s, path, reason)


def test_flood_of_frames_slows_only_its_sender(s):
    status, others = beside(s, "/bad/frame-flood", "/bench/hello")
    assert status == 200 and others > 1


# ---- walls ----
@pytest.mark.skipif(SANITIZED, reason="the sandbox is reduced under sanitizers")
def test_nothing_is_reachable_but_the_host(s):
    j = s.get("/bad/escape").json()
    assert j.pop("environment") is False
    uid = j.pop("uid")
    assert uid == (65534 if os.getuid() == 0 else os.getuid()) or uid == 65534
    assert {k: errno.errorcode.get(v, v) for k, v in j.items() if v not in (errno.EPERM, errno.EACCES, errno.ENOSYS)} == {}
    assert not os.path.exists("/tmp/bad-plugin-was-here")


# ---- what keeps a library in a process ends with this one ----
KEEPS = {
    "thread": dict(code="#include <pthread.h>\nstatic void *turn(void *a) { (void)a; for (;;) pause(); }\n"
                        "static void go(void) { static pthread_t t; if (!t) pthread_create(&t, 0, turn, 0); }", body="go();"),
    "key": dict(code="#include <pthread.h>\nstatic void bye(void *p) { free(p); }\n"
                     "static void go(void) { static pthread_key_t k; static int made; if (!made++) pthread_key_create(&k, bye);"
                     " pthread_setspecific(k, malloc(9)); }", body="go();"),
    "sticky": dict(code="struct S { static int &n() { static int v; return v; } };", value="++S::n()", cxx=True),
}


@pytest.mark.parametrize("what", sorted(KEEPS))
def test_what_would_keep_it_for_ever_leaves_with_the_process(build, serve, what):
    flags = ["-fvisibility=default"] if what == "sticky" else ()
    build("sticks", flags=flags, **KEEPS[what])
    s = serve("sticks", listed="  hello: {enabled: true}\n  sticks: {enabled: true, isolation: process}\n")
    assert s.get("/sticks").json() == 1
    pid = module(s, "sticks")["pid"]
    for _ in range(3):
        traps.act(s, "sticks")
        assert s.get("/sticks").json() == 1, "a fresh copy, with nothing of the old one"
    m = reloads.settled(s, "sticks")
    assert m["last_unload"]["proven"] and m["parked"] == 0 and len(m["generations"]) == 1
    until(lambda: gone(pid))


# ---- start and stop ----
def test_abort_in_a_constructor_is_a_failed_module(start):
    s = start(config=CONFIG + "  aborts: {isolation: process}\n", env=QUIET)
    m = module(s, "aborts")
    assert m["status"] == "failed" and "crashed while it was loaded" in m["error"], m["error"]
    assert s.get("/bad/ok").status_code == 200


def test_crash_in_create_is_a_failed_module(start):
    s = start(config=CONFIG + "  stubborn: {isolation: process, config: {crash: true}}\n", env=QUIET)
    m = module(s, "stubborn")
    assert m["status"] == "failed" and "create" in m["error"] and "process" in m["error"], m["error"]
    assert s.get("/stubborn").status_code == 503 and s.get("/bad/ok").status_code == 200


def test_children_end_with_their_host(start):
    s = start(config=CONFIG)
    pid = module(s)["pid"]
    s.kill()
    until(lambda: gone(pid))


def test_plugins_from_elsewhere_are_isolated_by_default(start):
    s = start(config=CONFIG + "  hello: {enabled: true}\n", env={"MODULES_ISOLATION": "auto"})
    assert module(s, "hello")["isolation"] == "process" and module(s, "accounts")["isolation"] == "none"
    assert s.get("/hello", token=None).json() == {"hello": "world"}
