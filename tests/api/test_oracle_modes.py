"""test_oracle_modes.py - the oracle with runners, with an external resolver, with a time to live, without dead letters."""
import json
import time
import pytest


def made(s, http_source, path, **more):
    a = s.account()
    at = f"/accounts/{a}/oracle"
    source = s.post(at + "/sources", json={"name": "s", "url": http_source.url + path, **more}).json()["id"]
    return a, at, source


def problem(answer, status, code):
    assert answer.status_code == status, answer.text
    assert answer.json()["code"] == code, answer.text


# ---- runners ----

@pytest.fixture
def runners(start, dsn, http_source):
    s = start(dsn, env={"ORACLE_RUNNER_TOKENS": "runner-one, runner-two", "ORACLE_BACKOFF": "100ms"})
    s.a, s.at, s.source = made(s, http_source, "/runner?k={{secret:k}}", headers={"X-S": "{{secret:k}}"})
    s.post(f"/accounts/{s.a}/secrets", json={"name": "k", "value": "v&1", "acl": ["oracle"]})
    s.lease = lambda token="runner-one", **body: s.post("/oracle/runner/lease", json=body, headers={"X-Oracle-Runner-Token": token})
    s.work = lambda r, verb, **body: s.post(f"/oracle/runner/requests/{r}/{verb}", json=body,
                                            headers={"X-Oracle-Runner-Token": "runner-two"})
    s.ask = lambda **more: s.post(s.at + "/requests", json={"source_id": s.source, **more}).json()["id"]
    return s


def test_a_runner_leases_and_completes(runners, http_source):
    s, hits = runners, len(http_source.hits("/runner"))
    r = s.ask(payload={"q": 1}, filter="$.a")
    problem(s.post("/oracle/runner/lease", json={}), 401, "runner_token_required")
    problem(s.lease("runner-three"), 401, "runner_token_required")
    items = s.lease().json()["items"]
    assert len(items) == 1 and items[0]["id"] == r and items[0]["attempt"] == 1
    asked = items[0]["sources"][0]
    assert asked["url"] == http_source.url + "/runner?k=v%261&q=1" and asked["headers"] == {"X-S": "v&1"} and asked["method"] == "GET"
    assert s.lease().json()["items"] == []
    problem(s.work(r, "complete", lease="other", result="x"), 409, "lease_lost")
    problem(s.work(r, "complete", lease=items[0]["lease"]), 422, "result_or_error")
    assert s.work(r, "extend", lease=items[0]["lease"], visibility_seconds=120).status_code == 200
    done = s.work(r, "complete", lease=items[0]["lease"], result='{"a": 7}')
    assert done.status_code == 200 and done.json()["status"] == "succeeded" and done.json()["result"] == "[7]"
    problem(s.work(r, "complete", lease=items[0]["lease"], result="twice"), 409, "lease_lost")
    assert len(http_source.hits("/runner")) == hits, "with runners the server itself fetches nothing"


def test_a_runners_error_is_final_or_tried_again(runners):
    s = runners
    r = s.ask()
    lease = s.lease().json()["items"][0]["lease"]
    assert s.work(r, "complete", lease=lease, error="came to nothing", retry=True).json()["status"] == "pending"
    s.until(f"{s.at}/requests/{r}", lambda b: s.lease().json()["items"] != [])
    body = s.get(f"{s.at}/requests/{r}").json()
    assert body["status"] == "running" and body["attempts"] == 2
    r = s.ask()
    lease = s.lease().json()["items"][0]["lease"]
    done = s.work(r, "complete", lease=lease, error="no such thing").json()
    assert done["status"] == "failed" and done["error"] == "no such thing"


def test_a_lost_lease_returns_the_request(runners):
    s = runners
    r = s.ask()
    first = s.lease(visibility_seconds=1).json()["items"][0]
    body = s.until(f"{s.at}/requests/{r}", lambda b: b["status"] == "pending", seconds=15)
    assert body["attempt_log"][0]["error_class"] == "lease"
    problem(s.work(r, "complete", lease=first["lease"], result="late"), 409, "lease_lost")
    second = s.lease().json()["items"][0]
    assert second["id"] == r and second["lease"] != first["lease"] and second["attempt"] == 2
    assert s.work(r, "complete", lease=second["lease"], result="in time").json()["result"] == "in time"


def test_what_time_ended_was_published_to_no_tenant(start, dsn, http_source):
    s = start(dsn, env={"ORACLE_RUNNER_TOKENS": "runner-one", "ORACLE_TTL_SECONDS": "1", "ORACLE_MAX_ATTEMPTS": "1"})
    a, at, source = made(s, http_source, "/nobody")
    expires = s.post(at + "/requests", json={"source_id": source}).json()["id"]
    s.until(f"{at}/requests/{expires}", lambda b: b["status"] == "expired")
    events = s.until("/system/events?topic=oracle.completed", lambda b: b["items"])["items"]
    assert [e["payload"] for e in events] == [{"id": expires, "account_id": a, "status": "expired"}]
    assert events[0]["tenant"] == "default"


def test_a_lease_lost_for_the_last_time_was_published_to_no_tenant(start, dsn, http_source):
    s = start(dsn, env={"ORACLE_RUNNER_TOKENS": "runner-one", "ORACLE_MAX_ATTEMPTS": "1"})
    a, at, source = made(s, http_source, "/nobody")
    r = s.post(at + "/requests", json={"source_id": source}).json()["id"]
    lease = s.post("/oracle/runner/lease", json={"visibility_seconds": 1}, headers={"X-Oracle-Runner-Token": "runner-one"})
    assert [i["id"] for i in lease.json()["items"]] == [r]
    s.until(f"{at}/requests/{r}", lambda b: b["status"] == "dead_letter")
    events = s.until("/system/events?topic=oracle.completed", lambda b: b["items"])["items"]
    assert [e["payload"] for e in events] == [{"id": r, "account_id": a, "status": "dead_letter"}]


def test_a_runner_does_not_get_a_source_that_was_disabled_meanwhile(runners):
    s = runners
    s.ask()
    assert s.patch(f"{s.at}/sources/{s.source}", json={"enabled": False}).status_code == 200
    asked = s.lease().json()["items"][0]["sources"]
    assert asked == [{"source_id": s.source, "error": "The data source is disabled."}]


def test_runners_take_batches_without_overlap(runners):
    s = runners
    asked = {s.ask() for _ in range(10)}
    one, two = s.lease(max=6).json()["items"], s.lease(max=6).json()["items"]
    assert len(one) == 6 and len(two) == 4
    assert {i["id"] for i in one} | {i["id"] for i in two} == asked


def test_tokens_beyond_the_32nd_were_left_out_without_a_word(start):
    tokens = [f"token-{i}" for i in range(33)]
    s = start(env={"ORACLE_RUNNER_TOKENS": ",".join(tokens[:32])})
    assert s.post("/oracle/runner/lease", json={}, headers={"X-Oracle-Runner-Token": "token-31"}).status_code == 200
    s = start(env={"ORACLE_RUNNER_TOKENS": ",".join(tokens)}, wait=False)
    assert s.said("runner_tokens (ORACLE_RUNNER_TOKENS) holds more than 32 tokens")


def test_without_tokens_there_are_no_runners(start):
    s = start()
    problem(s.post("/oracle/runner/lease", json={}, headers={"X-Oracle-Runner-Token": "x"}), 404, "no_runners")


# ---- external resolver ----

def resolver(start, dsn, http_source, path):
    return start(dsn, env={"ORACLE_RESOLVER_URL": http_source.url + path, "ORACLE_RESOLVER_KEY": "resolver-key-1",
                           "ORACLE_BACKOFF": "200ms", "ORACLE_MAX_ATTEMPTS": "2"})


def test_a_resolver_is_polled_until_it_is_done(start, dsn, http_source):
    for reply in ({"done": False, "retry_after_seconds": 0}, {"done": False}, {"done": False},
                  {"done": True, "success": True, "result": '{"x":1}'}):
        http_source.then("/resolve" + str(id(dsn)), body=json.dumps(reply))
    path = "/resolve" + str(id(dsn))
    before = len(http_source.hits(path))
    s = resolver(start, dsn, http_source, path)
    a, at, source = made(s, http_source, "/never-asked")
    r = s.post(at + "/requests", json={"source_id": source}).json()["id"]
    body = s.until(f"{at}/requests/{r}", lambda b: b["status"] not in ("pending", "running"))
    assert body["status"] == "succeeded" and body["result"] == '{"x":1}' and body["attempts"] == 1
    hits = http_source.hits(path)[before:]
    assert len(hits) == 4 and all(h[1]["Authorization"] == "Bearer resolver-key-1" for h in hits)
    assert http_source.targets(path)[-1] == f"{path}?request_id={r}"
    assert http_source.hits("/never-asked") == []
    assert "resolver-key-1" not in s.log


def test_a_resolver_can_fail_a_request_or_be_down(start, dsn, http_source):
    path = "/resolve-bad" + str(id(dsn))
    http_source.answer(path, body=json.dumps({"done": True, "success": False, "error": "unknown question"}))
    s = resolver(start, dsn, http_source, path)
    a, at, source = made(s, http_source, "/x")
    r = s.post(at + "/requests", json={"source_id": source}).json()["id"]
    body = s.until(f"{at}/requests/{r}", lambda b: b["status"] not in ("pending", "running"))
    assert body["status"] == "failed" and body["error"] == "unknown question"
    http_source.answer(path, status=500, body="oops")
    r = s.post(at + "/requests", json={"source_id": source}).json()["id"]
    body = s.until(f"{at}/requests/{r}", lambda b: b["status"] not in ("pending", "running"))
    assert body["status"] == "dead_letter" and body["attempts"] == 2


# ---- time to live, dead letters ----

def test_a_request_expires_and_its_replay_has_its_own_time(start, dsn, http_source):
    path = "/ttl" + str(id(dsn))
    http_source.answer(path, status=500)
    s = start(dsn, env={"ORACLE_TTL_SECONDS": "1", "ORACLE_BACKOFF": "400ms", "ORACLE_MAX_ATTEMPTS": "100"})
    a, at, source = made(s, http_source, path)
    r = s.post(at + "/requests", json={"source_id": source}).json()
    assert r["expires_at"]
    body = s.until(f"{at}/requests/{r['id']}", lambda b: b["status"] not in ("pending", "running"), seconds=15)
    assert body["status"] == "expired" and body["error_code"] == "expired" and body["result_code"] == "timeout"
    events = s.get("/system/events?topic=oracle.completed").json()["items"]
    assert [e["payload"] for e in events] == [{"id": r["id"], "account_id": a, "status": "expired"}]
    http_source.answer(path, body="ok")
    assert s.post(f"{at}/requests/{r['id']}/replay").status_code == 200
    body = s.until(f"{at}/requests/{r['id']}", lambda b: b["status"] not in ("pending", "running"))
    assert body["status"] == "succeeded", "its time counts from the replay, not from its creation"


def test_without_dead_letters_used_up_attempts_are_a_failure(start, http_source):
    http_source.answer("/nodlq", status=500)
    s = start(env={"ORACLE_DLQ_ENABLED": "false", "ORACLE_MAX_ATTEMPTS": "1"})
    a, at, source = made(s, http_source, "/nodlq")
    r = s.post(at + "/requests", json={"source_id": source}).json()["id"]
    body = s.until(f"{at}/requests/{r}", lambda b: b["status"] not in ("pending", "running"))
    assert body["status"] == "failed" and body["attempts"] == 1


def test_private_addresses_are_refused_unless_allowed(start, http_source):
    http_source.answer("/private", body="{}")
    before = len(http_source.hits("/private"))
    s = start(env={"OUTBOUND_ALLOW_PRIVATE": "false"})
    a, at, source = made(s, http_source, "/private")
    r = s.post(at + "/requests", json={"source_id": source}).json()["id"]
    body = s.until(f"{at}/requests/{r}", lambda b: b["status"] not in ("pending", "running"))
    assert body["status"] == "failed" and body["error_code"] == "address_blocked" and body["result_code"] == "forbidden"
    assert len(http_source.hits("/private")) == before


def test_a_killed_server_finishes_what_it_had_taken_on(start, tmp_path, http_source):
    http_source.answer("/killed", body="[1]", delay=1)
    s = start(f"sqlite:{tmp_path}/k.db", env={"ORACLE_BACKOFF": "100ms"})
    a, at, source = made(s, http_source, "/killed")
    r = s.post(at + "/requests", json={"source_id": source}).json()["id"]
    s.until(f"{at}/requests/{r}", lambda b: b["status"] == "running")
    s.kill()
    time.sleep(0.2)
    s.start()
    body = s.until(f"{at}/requests/{r}", lambda b: b["status"] not in ("pending", "running"), seconds=40)
    assert body["status"] == "succeeded" and body["result"] == "[1]" and body["attempts"] == 2
    assert [x["error_class"] for x in body["attempt_log"]] == ["worker", None]
