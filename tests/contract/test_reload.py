"""test_reload.py - replacing, stopping and starting plugins while requests flow: nothing is lost, refused or left behind."""
import os
import socket
import subprocess
import threading
import time
import pytest
import reloads
import requests
from server import ADMIN, BUILD, ROOT, TOKEN, until

SANITIZED = "address" in BUILD or "thread" in BUILD
unloads = pytest.mark.skipif(SANITIZED, reason="builds with sanitizers do not unload libraries")
ISOLATED = os.environ.get("SL_ISOLATION") == "process"  # make test-isolated

PLUGIN = '''#include <service_layer/plugin.h>
#include <unistd.h>
CODE
static sl_err run(void *self, sl_call *c) { (void)self; (void)c; BODY }
static const sl_entry entries[] = { { SL_ROUTE, "GET /NAME", run, .deadline_ms = 60000 MORE_ENTRY } EXTRA };
SL_PLUGIN("NAME", "VERSION", SL_ENTRIES(entries) MORE);
'''


@pytest.fixture
def place(tmp_path):
    """A directory for a server with plugins that can be replaced."""
    return str(tmp_path)


@pytest.fixture
def make(place):
    """make(name, ...) compiles a plugin into the directory, under a new inode as an installer would."""
    os.makedirs(f"{place}/plugins", exist_ok=True)

    def build(name, body='return sl_reply_json(c, 200, SL("\\"VERSION\\""));', version="1.0.0", more="", code="", extra="", more_entry=""):
        text = PLUGIN
        for key, value in (("BODY", body), ("MORE_ENTRY", more_entry), ("EXTRA", extra), ("CODE", code), ("MORE", more),
                           ("VERSION", version), ("NAME", name)):
            text = text.replace(key, value)
        with open(f"{place}/{name}.c", "w") as f:
            f.write(text)
        subprocess.run(["cc", "-std=c11", "-D_GNU_SOURCE", "-shared", "-fPIC", "-fvisibility=hidden", "-w", "-I", f"{ROOT}/include",
                        "-o", f"{place}/{name}.new", f"{place}/{name}.c"], check=True, timeout=60)
        os.replace(f"{place}/{name}.new", f"{place}/plugins/{name}.so")

    return build


@pytest.fixture
def serve(place):
    servers = []

    def go(*plugins, built=(), more="", dsn="", **options):
        s = reloads.start(place, dsn, more, plugins=plugins, enabled=tuple(plugins) + tuple(built), **options)
        servers.append(s)
        return s

    yield go
    for s in servers:
        s.stop()


def act(server, name, action, status=200, **more):
    answer = server.admin("POST", f"/admin/modules/{name}/{action}", **more)
    assert answer.status_code == status, answer.text
    return answer.json()


def show(server, name):
    return server.admin("GET", f"/admin/modules/{name}").json()


def hold_open(server, path, method="GET"):
    """A request that is under way when this returns."""
    s = socket.create_connection(("127.0.0.1", server.port))
    s.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 0\r\n\r\n".encode())
    server.under_way(1)
    return s


def answer_of(s, seconds=20):
    s.settimeout(seconds)
    data = b""
    while b"\r\n\r\n" not in data:
        piece = s.recv(65536)
        if not piece:
            break
        data += piece
    s.close()
    return data.decode()


# ---- under traffic ----
@unloads
def test_reloads_under_traffic_lose_nothing_and_leave_nothing(serve, place):
    """100 reloads; `make bench` does 1,000. Half of the requests write a durable row."""
    s = serve("bench", dsn=f"sqlite:{place}/test.db", env={"LOG_LEVEL": "warn"})
    reloads.many(s, "bench", 10)
    fds, of_database = reloads.descriptors(s), reloads.descriptors(s, database=True)
    reloads.result(reloads.traffic(s, 3))  # the store's cache, the pools and the buffers have their size from here on
    memory = reloads.resident(s)
    traffic = reloads.traffic(s, 8)
    time.sleep(0.2)
    changes = reloads.many(s, "bench", 100)
    found = reloads.result(traffic)
    assert len(changes) == 100 and all(c["good"] and c["to"] == c["from"] + 1 for c in changes)
    assert found["wrong"] == 0 and found["errors"] == 0, found
    assert found["reads"] > 1000 and found["writes"] > 1000
    assert ISOLATED or reloads.mapped(s, "bench") == [p for p in reloads.mapped(s, "bench") if ".111.so" in p] and len(reloads.mapped(s, "bench")) == 1
    until(lambda: reloads.descriptors(s) <= fds, seconds=10)  # the clients' connections close a moment later
    assert reloads.descriptors(s, database=True) <= of_database + 4  # two side threads, each the file and its log
    assert reloads.resident(s) < memory + 16 * 1024
    module = reloads.settled(s, "bench")
    assert module["last_unload"]["proven"] and module["parked"] == 0 and len(module["generations"]) == 1
    text = s.get("/metrics", token=None).text
    assert 'module_unloads_total{module="bench",outcome="gone"} 110' in text
    assert 'module_changes_total{module="bench",action="reload",outcome="done"} 110' in text


def test_hand_over_loses_no_update(serve):
    """A number that lives in memory only: every acknowledged addition is in it after reloads under traffic."""
    s = serve("counter", env={"LOG_LEVEL": "warn"})
    traffic = reloads.traffic(s, 4, "/counter", "/counter/late", "counted")
    time.sleep(0.2)
    changes = reloads.many(s, "counter", 30)
    found = reloads.result(traffic)
    assert found["wrong"] == 0 and found["errors"] == 0, found
    time.sleep(0.3)
    value = s.get("/counter").json()["value"]
    assert found["writes"] <= value <= found["writes"] + 64  # wrk leaves with up to one request a connection unanswered
    assert sum(c["held"] for c in changes) > 0 and all(c["hand_over_us"] > 0 for c in changes)

    def add(n):
        for _ in range(n):
            assert s.request("POST", "/counter/late", timeout=30).status_code == 201

    adders = [threading.Thread(target=add, args=(150,)) for _ in range(4)]
    for a in adders:
        a.start()
    while any(a.is_alive() for a in adders):
        reloads.reload(s, "counter")
    for a in adders:
        a.join()
    assert s.get("/counter").json()["value"] == value + 600


# ---- one at a time ----
def test_new_code_serves_after_a_reload(serve, make):
    make("one", version="1.0.0")
    s = serve("hello", built=["one"])
    assert s.get("/one").json() == "1.0.0"
    make("one", version="1.1.0")
    assert s.get("/one").json() == "1.0.0", "a new file alone changes nothing"
    module = act(s, "one", "reload")
    assert module["version"] == "1.1.0" and module["last_change"]["outcome"].startswith("generation 2 serves")
    assert s.get("/one").json() == "1.1.0"
    line = s.said("admin action")
    assert "action=reload" in line and "target=one" in line and "generation 2 serves" in line and "actor=" in line


def test_call_in_flight_ends_in_the_generation_where_it_began(serve, make):
    slow = 'sl_err e = sl_sleep(c, 2500); return e ? e : sl_reply_json(c, 200, SL("\\"VERSION\\""));'
    make("slow", body=slow)
    s = serve("hello", built=["slow"])
    under_way = hold_open(s, "/slow")
    make("slow", version="2.0.0")
    module = act(s, "slow", "reload")
    assert [(g["number"], g["state"], g["calls"]) for g in module["generations"]] == [(2, "serving", 0), (1, "draining", 1)]
    assert s.get("/slow").json() == "2.0.0"
    assert answer_of(under_way).endswith('"1.0.0"')
    assert len(reloads.settled(s, "slow")["generations"]) == (1)


@unloads
@pytest.mark.skipif(ISOLATED, reason="a child process is killed instead")
def test_call_that_ignores_cancellation_is_parked_not_unmapped(serve, make):
    """It works on, its client gets its answer, and the generation leaves when it is over at last."""
    make("blind", code="static void nap(void *unused) { usleep(5000000); }",
         body='c->host->core->offload(c, nap, 0); return sl_reply_json(c, 200, SL("1"));')
    s = serve("hello", built=["blind"], more="  drain: 200ms\n  parked_max: 1\n")
    under_way = hold_open(s, "/blind")
    act(s, "blind", "reload")
    until(lambda: show(s, "blind")["generations"][-1]["state"] == "parked", seconds=10)
    module = show(s, "blind")
    assert [(g["number"], g["state"], g["calls"]) for g in module["generations"]] == [(2, "serving", 0), (1, "parked", 1)]
    assert module["parked"] == 1 and len(reloads.mapped(s, "blind")) == 2 and s.said("generation parked")
    problem = act(s, "blind", "reload", 409)
    assert "1 old generations of it could not be unloaded (modules.parked_max is 1)" in problem["detail"]
    assert answer_of(under_way).endswith("1")
    assert len(reloads.settled(s, "blind")["generations"]) == 1 and len(reloads.mapped(s, "blind")) == 1
    act(s, "blind", "reload")


def test_generation_that_cannot_start_leaves_the_old_one_serving(serve, make):
    make("frail")
    s = serve("hello", built=["frail"])
    for code, more, says in [
            ("static sl_err no(sl_call *c, void **self) { return sl_problem(c, 500, \"no\", \"It will not.\"); }"
             "static const sl_lifecycle life = { .size = sizeof life, .create = no };", ", .lifecycle = &life", "It will not."),
            ("__attribute__((constructor)) static void boom(void) { *(volatile int *)0 = 1; }", "", "crashed while it was loaded"),
            ("void nowhere(void); void *keep(void) { return nowhere; }", "", "nowhere"),
            ("static const sl_need needs[] = { { \"sl.store\", 9, 0 } };", ", SL_NEEDS(needs)",
             "needs sl.store 9, this host offers 1: upgrade appserver"),
            ("static const sl_need needs[] = { { \"absent\", 1, 0 } };", ", SL_NEEDS(needs)", "needs absent, which is not installed")]:
        make("frail", version="2.0.0", code=code, more=more)
        problem = act(s, "frail", "reload", 422)
        assert problem["code"] == "module_refused" and says in problem["detail"] and "generation 1 serves on" in problem["detail"]
        assert s.get("/frail").json() == "1.0.0"
    module = reloads.settled(s, "frail")
    assert module["version"] == "1.0.0" and module["status"] == "started" and module["last_change"]["good"] is False
    make("frail", version="3.0.0")
    act(s, "frail", "reload")
    assert s.get("/frail").json() == "3.0.0"


def test_plugin_that_asks_for_a_newer_major_gets_a_sentence(serve, make):
    make("frail")
    s = serve("hello", built=["frail"])
    make("frail", more=", .major = 2")
    assert "is built against contract 2.0, this host runs 1." in act(s, "frail", "reload", 422)["detail"]


def test_if_match_of_another_state_is_refused(serve):
    s = serve("hello")
    answer = s.admin("GET", "/admin/modules/hello")
    tag = answer.headers["ETag"]
    assert answer.json()["etag"] == tag
    act(s, "hello", "reload", headers={"If-Match": tag})
    problem = act(s, "hello", "reload", 412, headers={"If-Match": tag})
    assert problem["code"] == "module_changed"
    act(s, "hello", "reload", headers={"If-Match": "*"})


def test_disable_enable_unload(serve):
    s = serve("hello", "counter")
    act(s, "hello", "disable")
    answer = s.get("/hello")
    assert answer.status_code == 503 and "disabled" in answer.text and answer.headers["Retry-After"]
    assert show(s, "hello")["status"] == "disabled" and "administrator" in show(s, "hello")["error"]
    assert act(s, "hello", "reload", 409)["detail"].endswith("enable it instead")
    act(s, "hello", "disable")
    act(s, "hello", "enable")
    assert s.get("/hello").json() == {"hello": "world"}
    act(s, "hello", "unload")
    assert s.get("/hello").status_code == 404
    reloads.settled(s, "hello")
    act(s, "hello", "enable")
    assert s.get("/hello").status_code == 200
    act(s, "hello", "disable")
    act(s, "hello", "unload")
    assert s.get("/hello").status_code == 404
    assert s.admin("POST", "/admin/modules/absent/reload").status_code == 404
    assert act(s, "system", "disable", 409)["detail"] == "not done, generation 1 serves on: it is part of the server"
    assert s.get("/admin/modules").status_code == 403 and s.get("/admin/modules", token=None).status_code == 401


def test_who_needs_a_disabled_module_waits_for_it(serve, make):
    make("base")
    make("above", code='static const sl_need needs[] = { { "base", 1, 0 } };', more=", SL_NEEDS(needs)")
    s = serve("hello", built=["base", "above"])
    assert s.get("/above").status_code == 200
    act(s, "base", "disable")
    assert show(s, "above")["status"] == "waiting" and show(s, "above")["error"] == "waiting for base, which is disabled"
    assert s.get("/above").status_code == 503 and "waiting" in s.get("/above").text
    act(s, "base", "enable")
    assert show(s, "above")["status"] == "started" and s.get("/above").json() == "1.0.0"


# ---- in line ----
def test_changes_at_once_wait_in_line(serve):
    s = serve("hello")
    answers = []

    def go(**more):
        answers.append(requests.post(s.url + "/admin/modules/hello/reload", headers={"Authorization": "Bearer " + ADMIN, **more}, timeout=60))

    def all_at_once(n, **more):
        answers.clear()
        threads = [threading.Thread(target=go, kwargs=more) for _ in range(n)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        return sorted(a.status_code for a in answers)

    assert all_at_once(6) == [200] * 6
    assert sorted(a.json()["last_change"]["to"] for a in answers) == [2, 3, 4, 5, 6, 7]
    tag = s.admin("GET", "/admin/modules/hello").headers["ETag"]
    for _ in range(100):  # the old generations leave, each a change of the state
        time.sleep(0.05)
        settled, tag = tag, s.admin("GET", "/admin/modules/hello").headers["ETag"]
        if tag == settled and len(show(s, "hello")["generations"]) == 1:
            break
    assert all_at_once(4, **{"If-Match": tag}) == [200, 412, 412, 412]


def test_reloads_faster_than_calls_end_wait_for_them(serve, make):
    """Each of twelve generations has a call in it; at most eight drain at once, the next reload waits for room."""
    make("slow", body='sl_err e = sl_sleep(c, 1500); return e ? e : sl_reply_json(c, 200, SL("\\"VERSION\\""));')
    s = serve("hello", built=["slow"])
    under_way = []
    for _ in range(12):
        t = socket.create_connection(("127.0.0.1", s.port))
        t.sendall(f"GET /slow HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
        under_way.append(t)
        act(s, "slow", "reload")
    assert all(answer_of(t).endswith('"1.0.0"') for t in under_way)
    assert len(reloads.settled(s, "slow")["generations"]) == 1 and show(s, "slow")["parked"] == 0


# ---- roll-back ----
def test_new_generation_that_turns_sick_is_rolled_back(serve, make):
    sick = "static sl_err health(void *self, sl_call *c) { return SICK; } " \
           "static const sl_lifecycle life = { .size = sizeof life, .health = health };"
    make("patient", code=sick.replace("SICK", "SL_OK"), more=", .lifecycle = &life")
    s = serve("hello", built=["patient"], more="  rollback_window: 20s\n".replace("rollback", "rollback"))
    make("patient", version="2.0.0", code=sick.replace("SICK", 'sl_problem(c, 503, "sick", "It feels sick.")'), more=", .lifecycle = &life")
    module = act(s, "patient", "reload")
    assert {g["state"] for g in module["generations"]} == {"serving", "warm"} and s.get("/patient").json() == "2.0.0"
    until(lambda: s.get("/patient").json() == "1.0.0", seconds=10)
    module = show(s, "patient")
    assert module["version"] == "1.0.0" and module["last_change"]["action"] == "roll back"
    assert "because of 2: It feels sick." in module["last_change"]["outcome"]


def test_new_generation_that_fails_its_calls_is_rolled_back(serve, make):
    make("wrong")
    s = serve("hello", built=["wrong"], more="  rollback_window: 20s\n")
    make("wrong", version="2.0.0", body="return SL_EINTERNAL;")
    act(s, "wrong", "reload")
    until(lambda: s.get("/wrong").status_code == 200, seconds=10)
    assert s.get("/wrong").json() == "1.0.0" and "calls failed" in show(s, "wrong")["last_change"]["outcome"]


def test_good_generation_stays_and_the_warm_one_leaves(serve, make):
    make("fine")
    s = serve("hello", built=["fine"], more="  rollback_window: 2s\n")
    make("fine", version="2.0.0")
    act(s, "fine", "reload")
    make("fine", version="3.0.0")
    states = [(g["number"], g["state"]) for g in act(s, "fine", "reload")["generations"]]
    assert states[0] == (3, "serving") and (2, "warm") in states
    time.sleep(2.5)
    module = reloads.settled(s, "fine")
    assert [g["number"] for g in module["generations"]] == [3] and s.get("/fine").json() == "3.0.0"
