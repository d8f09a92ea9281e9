"""test_contract.py - every function of the contract as the probe plugin sees it, over HTTP, on each store."""
import base64
import os
import re
import socket
import time
import pytest
from server import BUILD, ROOT, until

SERVER_CONFIG = f"""
modules:
  dirs: ["{BUILD}/test-plugins"]
  migration_dirs: ["{ROOT}/migrations", "{ROOT}/tests/contract/plugins/migrations"]
  slow_ms: 50ms
plugins:
  probe:
    config: {{greeting: "good day"}}
  hello:
    enabled: true
  hostile:
    enabled: true
"""


@pytest.fixture(scope="module")
def probe(server):
    return server


def get(probe, path, status=200, **more):
    answer = probe.get(path, **more)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


def post(probe, path, body, status=200, **more):
    answer = probe.post(path, json=body, **more)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


# ---- sl.core ----
def test_input_of_a_request(probe):
    j = get(probe, "/probe/input/a%20b?q=x+y%26z", headers={"X-Probe": "seen"}, tenant="acme")
    assert j["id"] == "a b" and j["q"] == "x y&z" and j["n"] == "5" and j["header"] == "seen"
    assert j["greeting"] == "good day" and j["config"] == {"greeting": "good day"} and j["unknown"] is None
    facts = j["facts"]
    assert facts["tenant"] == "acme" and facts["role"] == "service" and facts["method"] == "GET"
    assert facts["route"] == "/probe/input/{id}" and facts["remote"] == "127.0.0.1" and facts["job_id"] is None
    assert len(facts["trace_id"]) == 32 and facts["request_id"]


def test_absent_query_parameter_takes_its_default_and_bad_ones_are_refused(probe):
    assert get(probe, "/probe/input/x")["q"] is None
    assert probe.get("/probe/input/x?n=11").status_code == 422
    assert probe.get("/probe/input/x?colour=red").status_code == 422


def test_body_is_checked_and_decoded(probe):
    j = post(probe, "/probe/body", {"name": "a", "count": 3, "tags": ["x", "y"]})
    assert j["name"] == "a" and j["count"] == "3" and j["tags"] == ["x", "y"] and j["colour"] == "red"
    assert j["whole"] == {"name": "a", "count": 3, "tags": ["x", "y"], "colour": "red"}
    assert probe.post("/probe/body", json={"name": "a", "extra": 1}).status_code == 422
    assert probe.post("/probe/body", data="{", headers={"Content-Type": "application/json"}).status_code == 400


def test_memory_time_ids_json_log(probe):
    j = get(probe, "/probe/core")
    assert j["zeroed"] and j["limited"] and j["random"] and j["slept"] and j["now"] and j["sleep"] == "SL_OK"
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", j["id"])
    assert j["pointer"] == "x\ny" and j["subtree"] == '[1,{"b":true}]' and j["bad_json"] is None and j["null_value"] is None
    assert j["started"] == 1 and j["greeting"] == "good day" and j["generation"] == 1 and j["isolated"] is (os.environ.get("SL_ISOLATION") == "process")
    line = probe.said("probe says hello")
    assert "plugin=probe" in line and "GET /probe/core" in line and "request_id=" in line
    assert "\n" not in line and "quoted" in line


def test_work_on_the_thread_pool(probe):
    assert get(probe, "/probe/offload") == {"code": "SL_OK", "n": 144}


def test_pool_handler_may_not_wait(probe):
    j = get(probe, "/probe/pool?q=seen")
    for function in ("sleep", "query", "ask", "publish", "offload"):
        assert j[function] == "SL_ESTATE", function
    assert j["q"] == "seen" and len(j["id"]) == 36
    assert 'probe_counts_total{way="pool"} ' in probe.get("/metrics", token=None).text
    probe.said("from the pool")


def test_reserved_and_malformed_headers_are_refused(probe):
    answer = probe.get("/probe/headers")
    assert answer.json() == {"good": "SL_OK", "reserved": "SL_EINVAL", "split": "SL_EINVAL", "name": "SL_EINVAL"}
    assert answer.headers["X-Probe"] == "yes" and "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("status", [400, 404, 409, 422, 500, 503])
def test_problem_of_a_handler(probe, status):
    answer = probe.get(f"/probe/problem/{status}")
    body = answer.json()
    assert answer.status_code == status and answer.headers["Content-Type"].startswith("application/problem+json")
    assert body["code"] == "probe_problem" and body["detail"] == "As asked for." and body["status"] == status


@pytest.mark.parametrize("code,status", [(-1, 400), (-2, 404), (-3, 403), (-4, 409), (-5, 412), (-6, 413), (-7, 429), (-8, 503),
                                         (-9, 504), (-10, 502), (-11, 503), (-12, 500), (-13, 500), (7, 500), (-99, 500)])
def test_code_of_a_handler(probe, code, status):
    answer = probe.get(f"/probe/code/{code}")
    assert answer.status_code == status and answer.json()["status"] == status


def test_stream(probe):
    answer = probe.get("/probe/stream")
    assert answer.text == "first\npiece 0\npiece 1\npiece 2\n" and answer.headers["Content-Type"].startswith("text/plain")


def test_deadline_reaches_a_sleeping_handler(probe):
    began = time.monotonic()
    assert probe.get("/probe/hold").status_code == 504
    assert 1.4 < time.monotonic() - began < 15


def test_max_inflight_of_an_entry(probe):
    """The third call at once is told to come back, the others go on."""
    sockets = []
    for _ in range(2):
        s = socket.create_connection(("127.0.0.1", probe.port))
        s.sendall(b"GET /probe/hold?ms=1200 HTTP/1.1\r\nHost: x\r\n\r\n")
        sockets.append(s)
    probe.under_way(2)
    third = probe.get("/probe/hold?ms=1")
    assert third.status_code == 429 and third.headers["Retry-After"]
    for s in sockets:
        assert s.recv(100).startswith(b"HTTP/1.1 204"), "those before it go on"
        s.close()
    assert probe.get("/probe/hold?ms=1").status_code == 204


def test_watchdog_names_who_held_the_loop(probe):
    assert probe.get("/probe/busy?ms=200").status_code == 204
    line = probe.said("held the loop", "/probe/busy")
    assert "module=probe" in line
    modules = {m["name"]: m for m in get(probe, "/system/status")["modules"]}
    assert modules["probe"]["slow_calls"] >= 1


# ---- sl.store ----
def test_row_as_json(probe):
    j = post(probe, "/probe/rows", {"name": "first"}, 201)
    assert j["amount"] == "6.5" and j["flag"] is True and base64.b64decode(j["data"]) == b"\0\1\2" and j["version"] == 1
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", j["at"])
    answer = probe.get("/probe/rows/" + j["id"])
    assert answer.json() == j and answer.headers["ETag"] == '"1"'
    assert probe.get("/probe/rows/01a1fbae-ff47-7e62-9d5e-88b5b9a16b96").status_code == 404
    assert probe.post("/probe/rows", json={"name": "first"}).status_code == 409


def test_list_pages(probe):
    for i in range(5):
        post(probe, "/probe/rows", {"name": f"page-{i}"}, 201)
    seen, path = [], "/probe/rows?limit=2"
    while path:
        page = get(probe, path)
        seen += [r["name"] for r in page["items"]]
        path = f"/probe/rows?limit=2&cursor={page['next_cursor']}" if page["next_cursor"] else None
    assert [n for n in seen if n.startswith("page-")] == [f"page-{i}" for i in (4, 3, 2, 1, 0)] and len(seen) == len(set(seen))


def test_values_survive_the_store(probe):
    j = get(probe, "/probe/values")
    assert j == {"int": True, "real": True, "text": "ä 'quoted'", "null": True, "cols": 4}


def test_any_other_return_rolls_everything_back(probe):
    answer = probe.post("/probe/rollback", json={"name": "never"})
    assert answer.status_code == 409 and answer.json()["code"] == "thrown_away"
    post(probe, "/probe/rows", {"name": "never"}, 201)  # the name is free
    time.sleep(0.3)
    assert "lost" not in probe.get("/probe/events").text and "lost" not in probe.get("/probe/runs").text


def test_commit_in_between_stays(probe):
    answer = probe.post("/probe/commit", json={"name": "kept"})
    assert answer.status_code == 409 and answer.json()["code"] == "committed"
    assert probe.post("/probe/rows", json={"name": "kept"}).status_code == 409


def test_a_key_and_the_audit_log_know_what_was_committed_before_the_end(probe):
    key = {"Idempotency-Key": "half"}
    first, again = [probe.post("/probe/commit", json={"name": "half"}, headers=key) for _ in range(2)]
    assert (first.status_code, first.json()["code"]) == (409, "committed")
    assert (again.status_code, again.json()["code"]) == (409, "idempotency_unfinished")
    key = {"Idempotency-Key": "halves"}
    first, again = [probe.post("/probe/commit", json={"name": "halves"}, headers=key) for _ in range(2)]
    assert (first.status_code, first.json()["name"]) == (201, "other-half")
    assert again.text == first.text and again.status_code == 201 and again.headers["Idempotency-Hit"] == "true"
    rows = probe.admin("GET", "/admin/audit?contains=/probe/commit&limit=100").json()["items"]
    mine = [r for r in rows if r["request_id"] == first.headers["X-Request-Id"]]
    assert sorted((r["status"] or 0, r["outcome"]) for r in mine) == [(0, "a part of it is committed before its end"), (201, None)]


def test_only_the_store_may_be_waited_for_inside_a_transaction(probe):
    j = post(probe, "/probe/in-transaction", {"name": "inside"})
    for function in ("sleep", "fetch", "ask", "offload"):
        assert j[function] == "SL_ESTATE", function
    assert j["query"] == "SL_OK" and j["own_row"] == 1
    probe.said("only the store may be waited for", "POST /probe/in-transaction")


# ---- sl.bus, sl.jobs ----
def test_event_reaches_its_subscriber_once(probe):
    j = post(probe, "/probe/publish", {"name": "event-1"})
    assert j == {"made": "SL_OK", "not_granted": "SL_EDENIED", "bad_topic": "SL_EINVAL", "bad_json": "SL_EINVAL"}
    events = until(lambda: [e for e in get(probe, "/probe/events")["items"] if "event-1" in e["body"]])
    assert len(events) == 1 and events[0]["topic"] == "probe.made" and events[0]["event_id"] and events[0]["attempt"] == 1


def test_jobs(probe):
    j = post(probe, "/probe/jobs", {"name": "once"})
    assert j == {"run": "SL_OK", "again": "SL_OK", "later": "SL_OK", "cancel": "SL_OK", "unknown_kind": "SL_ENOENT",
                 "wrong_input": "SL_EINVAL", "own_tenant": "SL_OK", "other_tenant": "SL_EDENIED", "unsized": "SL_EINVAL", "retry_outside": "SL_ESTATE"}
    runs = until(lambda: [r for r in get(probe, "/probe/runs")["items"] if r["job_key"] == "once"])
    time.sleep(0.3)
    runs = [r for r in get(probe, "/probe/runs")["items"] if r["kind"] == "probe.run"]
    assert [r["attempt"] for r in runs if r["job_key"] == "once"] == [1] and not [r for r in runs if r["job_key"] == "later"]


def test_job_is_run_again_until_it_succeeds(probe):
    post(probe, "/probe/jobs", {"name": "flaky"})
    runs = until(lambda: [r for r in get(probe, "/probe/runs")["items"] if r["job_key"] == "flaky"], 20)
    assert [r["attempt"] for r in runs] == [3]


def test_schedule_ticks(probe):
    ticks = until(lambda: len([r for r in get(probe, "/probe/runs")["items"] if r["kind"] == "tick"]) >= 2 and
                       [r["tick"] for r in get(probe, "/probe/runs")["items"] if r["kind"] == "tick"])
    assert len(ticks) == len(set(ticks)) and all(ticks)


# ---- ask ----
def asked(probe, entry, question=None, **more):
    body = {"entry": entry} | ({"question": question} if question is not None else {}) | more
    return post(probe, "/probe/ask", body)


def test_ask_answers_with_caller_and_identity(probe):
    j = post(probe, "/probe/ask", {"entry": "probe.echo", "question": {"word": "hi"}}, tenant="acme", headers={"X-Request-Id": "rq-1"})
    assert j["code"] == "SL_OK" and j["status"] == 200 and j["type"] == "application/json"
    assert j["body"] == {"caller": "probe", "tenant": "acme", "request_id": "rq-1", "word": "hi", "whole": {"word": "hi"}}


def test_question_is_checked_by_its_schema(probe):
    assert asked(probe, "probe.echo", {})["body"]["word"] == "none"
    j = asked(probe, "probe.echo", {"word": "far too long"})
    assert j["code"] == "SL_OK" and j["status"] == 422 and j["body"]["errors"][0]["pointer"] == "/word"


def test_problem_of_the_answerer_comes_back_as_a_message(probe):
    j = asked(probe, "probe.refuse", {})
    assert j["code"] == "SL_OK" and j["status"] == 409 and j["body"]["code"] == "refused"
    j = asked(probe, "probe.missing", {})
    assert j["code"] == "SL_OK" and j["status"] == 404


def test_who_cannot_be_asked(probe):
    assert asked(probe, "absent.entry", {}) == {"code": "SL_ENOENT"}
    assert asked(probe, "secrets.resolve", {}) == {"code": "SL_EDENIED"}


def test_ask_ends_with_its_time(probe):
    began = time.monotonic()
    assert asked(probe, "probe.slow", {}, timeout_ms=100) == {"code": "SL_ETIME"}
    assert time.monotonic() - began < 15  # the one asked takes a minute


def test_questions_within_questions_end(probe):
    assert asked(probe, "probe.deep", {})["body"] == {"end": "SL_ETOOBIG"}


# ---- sl.http, sl.metrics, sl.crypto ----
def test_fetch(probe, http_source):
    http_source.answer("/x", body=b'{"a":1}')
    j = post(probe, "/probe/fetch", {"url": http_source.url + "/x"})
    assert j["code"] == "SL_OK" and j["status"] == 200 and j["body"] == '{"a":1}' and j["error_class"] is None
    assert http_source.hits("/x")[-1][1]["X-Probe"] == "yes"
    j = post(probe, "/probe/fetch", {"url": "http://127.0.0.1:1/"})
    assert j["code"] == "SL_EUPSTREAM" and j["status"] == 0 and j["error_class"] == "connect"
    assert post(probe, "/probe/fetch", {"url": "not a url"})["code"] == "SL_EINVAL"
    assert post(probe, "/probe/fetch", {"url": ""})["code"] == "SL_EINVAL"


def test_metrics_of_a_plugin(probe):
    before = probe.get("/metrics", token=None).text
    assert probe.post("/probe/count").status_code == 204
    text = probe.get("/metrics", token=None).text
    value = lambda t: float((re.search(r'probe_counts_total\{way="a"\} (\S+)', t) or [0, 0])[1])  # noqa: E731
    assert value(text) == value(before) + 1, "the wrong ones must not count"
    assert "probe_level 42" in text and re.search(r"probe_seconds_count [1-9]", text)
    probe.said("a metric was given a wrong index")


def test_crypto(probe):
    j = get(probe, "/probe/crypto")
    assert j["plain"] == "secret" and j["same_key"]
    assert [j[k] for k in ("seal", "unseal", "rewrap", "unseal_again")] == ["SL_OK"] * 4
    assert [j[k] for k in ("other_aad", "cut")] == ["SL_EDENIED"] * 2 and [j[k] for k in ("absent", "no_out")] == ["SL_EINVAL"] * 2


def test_hostile_arguments_are_refused(probe):
    j = get(probe, "/hostile")
    assert j.pop("stranger") is True and j.pop("input") is None and j.pop("input_null") is None and j.pop("json") is None
    for states in ("write", "stranger_sleep"):
        assert j.pop(states) in ("SL_ESTATE", "SL_EINVAL"), states
    assert j.pop("sql_denied") == "SL_EDENIED"
    assert {k: v for k, v in j.items() if v != "SL_EINVAL"} == {}
    assert get(probe, "/hello") == {"hello": "world"}


# ---- lifecycle ----
def test_unload_leaves_nothing_in_the_private_directory(start):
    s = start(config=SERVER_CONFIG)
    held = [d for d in os.listdir(s.dir) if d.startswith("service-layer-")]
    s.stop()
    assert not [d for d in os.listdir(s.dir) if d.startswith("service-layer-")], held
    assert "probe stops" in s.log


@pytest.mark.parametrize("greeting,error", [("fail-create", "The greeting says so."), ("fail-start", "SL_EUPSTREAM")])
def test_module_that_cannot_start_is_shown_and_the_rest_serves(start, greeting, error):
    s = start(config=SERVER_CONFIG.replace("good day", greeting))
    modules = {m["name"]: m for m in get(s, "/system/status")["modules"]}
    assert modules["probe"]["status"] == "failed" and error in modules["probe"]["error"] and not modules["probe"]["ready"]
    assert get(s, "/hello") == {"hello": "world"} 
    answer = s.get("/probe/core")
    assert answer.status_code == 503 and answer.headers["Retry-After"] and error not in answer.text, "the reason is not public"
    assert s.get("/readyz").status_code == 200 and s.get("/healthz").status_code == 503


def test_required_module_that_cannot_start_ends_the_server(start):
    config = SERVER_CONFIG.replace("good day", "fail-start").replace("  probe:\n", "  probe:\n    required: true\n")
    s = start(config=config, wait=False)
    assert s.process.wait(20) == 1 and "probe, which is required" in s.log


def test_sick_module_fails_health_not_readiness(start):
    s = start(config=SERVER_CONFIG.replace("good day", "sick"))
    assert s.get("/readyz", token=None).status_code == 200
    answer = s.get("/healthz", token=None)
    assert answer.status_code == 503 and "probe" in answer.text and "feels" not in answer.text, "the reason is not public"
    assert "The probe feels sick." in s.get("/system/status").text
