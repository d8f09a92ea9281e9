"""test_oracle.py - the oracle: sources, requests through all their states, filters, aggregation, limits, cancel, replay."""
import concurrent.futures
import time
import pytest

SERVER_ENV = {"ORACLE_BACKOFF": "150ms", "ORACLE_MAX_ATTEMPTS": "3"}
UNKNOWN = "01940000-0000-7000-8000-000000000000"
ENDED = ("succeeded", "failed", "expired", "cancelled", "dead_letter")


def problem(answer, status, code):
    assert answer.status_code == status, answer.text
    assert answer.json()["code"] == code, answer.text


class Oracle:
    def __init__(self, server, http_source):
        self.server, self.http, self.account = server, http_source, server.account()
        self.at = f"/accounts/{self.account}/oracle"
        self.n = 0

    def source(self, path, **more):
        self.n += 1
        body = {"name": f"s{self.n}", "url": self.http.url + path, **more}
        answer = self.server.post(self.at + "/sources", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def ask(self, source, **more):
        answer = self.server.post(self.at + "/requests", json={"source_id": source, **more})
        assert answer.status_code == 201, answer.text
        return answer.json()

    def end(self, request, seconds=20):
        return self.server.until(f"{self.at}/requests/{request['id']}", lambda r: r["status"] in ENDED, seconds)

    def answer(self, source, **more):
        return self.end(self.ask(source, **more))


@pytest.fixture
def oracle(server, http_source):
    return Oracle(server, http_source)


# ---- sources ----

def test_a_source_is_made_read_changed_and_removed(server, oracle):
    made = server.post(oracle.at + "/sources", json={
        "name": "Prices", "url": "https://example.org/p?k={{secret:key}}", "method": "POST", "headers": {"X-A": "b"},
        "body": "{}", "description": "what it is"})
    assert made.status_code == 201, made.text
    s = made.json()
    assert s["enabled"] is True and s["version"] == 1 and s["headers"] == {"X-A": "b"} and s["method"] == "POST"
    assert server.get(f"{oracle.at}/sources/{s['id']}").json() == s
    assert [i["id"] for i in server.get(oracle.at + "/sources").json()["items"]] == [s["id"]]
    at = f"{oracle.at}/sources/{s['id']}"
    changed = server.patch(at, json={"enabled": False, "name": "prices"}, headers={"If-Match": '"1"'})
    assert changed.status_code == 200 and changed.json()["enabled"] is False and changed.json()["body"] == "{}"
    assert changed.headers["ETag"] == '"2"'
    assert server.patch(at, json={"enabled": True}, headers={"If-Match": '"1"'}).status_code == 412
    problem(server.patch(at, json={}), 422, "invalid_input")
    problem(server.post(oracle.at + "/sources", json={"name": "PRICES", "url": "http://x.org"}), 409, "source_exists")
    assert server.delete(at).status_code == 204
    problem(server.get(at), 404, "source_not_found")
    problem(server.patch(at, json={"enabled": True}), 404, "source_not_found")
    problem(server.delete(at), 404, "source_not_found")


@pytest.mark.parametrize("change, code", [
    ({"url": "ftp://example.org/x"}, "invalid_input"), ({"url": "http:///path"}, "invalid_input"), ({"url": "example.org/xx"}, "invalid_input"),
    ({"url": "http://a b.org"}, "bad_url"), ({"url": "http://x.org/" + "y" * 300}, "url_too_long"),
    ({"url": "http://x.org/{{secret:}}"}, "bad_reference"), ({"url": "http://x.org/{{secret:a"}, "bad_reference"),
    ({"headers": {"A": "{{secret:a b}}"}}, "bad_reference"), ({"headers": {"Content-Length": "4"}}, "bad_headers"),
    ({"headers": {"A B": "x"}}, "bad_headers"), ({"headers": {"A": "x\r\nB: y"}}, "bad_headers"),
    ({"body": "{{secret:|}}"}, "bad_reference"), ({"method": "TRACE"}, "invalid_input"), ({"name": "a|b"}, "invalid_input")])
def test_a_malformed_source_is_refused(server, oracle, change, code):
    answer = server.post(oracle.at + "/sources", json={"name": "n", "url": "http://example.org/", **change})
    assert answer.status_code == 422, answer.text
    if code != "invalid_input":
        assert answer.json()["code"] in (code, "bad_headers" if "headers" in change else code), answer.text


def test_unknown_and_foreign_are_404(server, oracle):
    other = server.account()
    s = oracle.source("/x")
    problem(server.get(f"/accounts/{other}/oracle/sources/{s}"), 404, "source_not_found")
    problem(server.post(f"/accounts/{other}/oracle/requests", json={"source_id": s}), 404, "source_not_found")
    problem(server.post(f"{oracle.at}/requests", json={"source_id": UNKNOWN}), 404, "source_not_found")
    problem(server.get(f"{oracle.at}/requests/{UNKNOWN}"), 404, "request_not_found")
    for path in ("sources", "requests"):
        problem(server.get(f"/accounts/{UNKNOWN}/oracle/{path}"), 404, "account_not_found")
    problem(server.post(f"/accounts/{UNKNOWN}/oracle/sources", json={"name": "n", "url": "http://x.org/"}), 404, "account_not_found")
    assert server.get(f"{oracle.at}/sources/{s}", tenant="other").status_code == 404


# ---- what is sent ----

def test_a_payload_becomes_query_parameters_of_a_get(http_source, oracle):
    http_source.answer("/get", body="{}")
    s = oracle.source("/get?fixed=1#part")
    assert oracle.answer(s, payload={"q": "a b&c", "n": 5, "big": 12345678901, "f": 1.5, "t": True, "z": None, "o": {"k": [1]}})["status"] == "succeeded"
    assert http_source.targets("/get")[-1] == "/get?fixed=1&q=a%20b%26c&n=5&big=12345678901&f=1.5&t=true&z=&o=%7B%22k%22%3A%5B1%5D%7D"
    assert oracle.answer(s, payload="plain text")["payload"] == "plain text"
    assert http_source.targets("/get")[-1] == "/get?fixed=1&payload=plain%20text"


def test_a_payload_is_the_body_of_a_post_and_the_sources_body_its_default(http_source, oracle):
    http_source.answer("/post", body="{}")
    s = oracle.source("/post", method="POST", body='{"default":true}')
    oracle.answer(s)
    oracle.answer(s, payload={"own": [1, 2]})
    oracle.answer(s, payload="<xml/>")
    hits = http_source.hits("/post")[-3:]
    assert [h[2] for h in hits] == [b'{"default":true}', b'{"own":[1,2]}', b"<xml/>"]
    assert all(h[0] == "POST" and h[1]["Content-Type"] == "application/json" for h in hits)
    typed = oracle.source("/post", method="PUT", headers={"content-type": "text/xml"})
    oracle.answer(typed, payload="<xml/>")
    method, headers, body = http_source.hits("/post")[-1]
    assert method == "PUT" and body == b"<xml/>" and headers.get("Content-Type", headers.get("content-type")) == "text/xml"


def test_secrets_go_out_and_nowhere_else(server, http_source, oracle):
    value = "s3cr3t/ü&x=1"
    server.post(f"/accounts/{oracle.account}/secrets", json={"name": "Key", "value": value, "acl": ["oracle"]})
    http_source.answer("/sec", status=403, body="you sent s3cr3t/ü&x=1 as s3cr3t%2F%C3%BC%26x%3D1", headers={"Content-Type": "text/plain"})
    s = oracle.source("/sec?k={{secret:Key}}", method="POST", body="b={{secret:key}}", headers={"X-Plain": "p"})
    r = oracle.answer(s)
    assert http_source.targets("/sec")[-1] == "/sec?k=s3cr3t%2F%C3%BC%26x%3D1"
    assert http_source.hits("/sec")[-1][2] == ("b=" + value).encode()
    assert r["status"] == "failed" and r["error"] == "The source answered status 403: you sent *** as ***"
    for text in (server.get(f"{oracle.at}/requests/{r['id']}").text, server.get(f"{oracle.at}/sources/{s}").text, server.log):
        assert "s3cr3t" not in text


def test_a_secret_that_may_not_be_used_fails_the_request(server, http_source, oracle):
    http_source.answer("/acl", body="{}")
    before = len(http_source.hits("/acl"))
    server.post(f"/accounts/{oracle.account}/secrets", json={"name": "private", "value": "v"})
    r = oracle.answer(oracle.source("/acl", headers={"A": "{{secret:private}}"}))
    assert r["status"] == "failed" and r["error_code"] == "secret_denied" and "private" in r["error"]
    r = oracle.answer(oracle.source("/acl", headers={"A": "{{secret:nowhere}}"}))
    assert r["status"] == "failed" and r["error_code"] == "secret_not_found" and "nowhere" in r["error"]
    server.put(f"/accounts/{oracle.account}/secrets/private", json={"acl": ["oracle"]})
    assert oracle.answer(oracle.source("/acl", headers={"A": "{{secret:private}}"}))["status"] == "succeeded"
    assert len(http_source.hits("/acl")) == before + 1


def test_what_secrets_make_larger_than_a_mebibyte_is_not_left_out_of_the_request(server, http_source, oracle):
    http_source.answer("/large", body="{}")
    before = len(http_source.hits("/large"))
    server.post(f"/accounts/{oracle.account}/secrets", json={"name": "large", "value": "x" * 65536, "acl": ["oracle"]})
    text = "{{secret:large}}" * 17
    for more in ({"method": "POST", "body": text}, {"headers": {"A": text}}):
        r = oracle.answer(oracle.source("/large", **more))
        assert r["status"] == "failed" and r["error_code"] == "request_too_large" and "1 MiB" in r["error"], r
    assert len(http_source.hits("/large")) == before


# ---- how it ends ----

def test_success_records_its_attempt(http_source, oracle):
    http_source.answer("/ok", body='{"a": 1}', headers={"Content-Type": "application/json; charset=utf-8"})
    r = oracle.answer(oracle.source("/ok"))
    assert r["status"] == "succeeded" and r["result"] == '{"a": 1}' and r["result_code"] == "success"
    assert r["error"] is None and r["error_code"] is None and r["attempts"] == 1
    assert r["completed_at"] and r["expires_at"] is None and r["next_attempt_at"] is None
    log = r["attempt_log"]
    assert len(log) == 1
    assert log[0]["outcome"] == "succeeded" and log[0]["status"] == 200 and log[0]["address"] == "127.0.0.1"
    assert log[0]["bytes"] == 8 and log[0]["content_type"].startswith("application/json") and log[0]["error"] is None
    assert r["earlier_outcomes"] == []


@pytest.mark.parametrize("status, code", [(404, "not_found"), (403, "forbidden"), (401, "forbidden"), (400, "error"), (302, "error")])
def test_a_final_status_ends_at_once(http_source, oracle, status, code):
    http_source.answer(f"/final{status}", status=status, body="no")
    r = oracle.answer(oracle.source(f"/final{status}"))
    assert r["status"] == "failed" and r["attempts"] == 1 and r["result_code"] == code
    assert str(status) in r["error"]


def test_server_errors_are_tried_again_until_the_attempts_are_used_up(server, http_source, oracle):
    http_source.answer("/down", status=503, body="busy")
    r = oracle.answer(oracle.source("/down"))
    assert r["status"] == "dead_letter" and r["attempts"] == 3 and r["error_code"] == "source_status"
    assert [a["outcome"] for a in r["attempt_log"]] == ["retry"] * 3
    assert [a["attempt"] for a in r["attempt_log"]] == [1, 2, 3]
    listed = server.get(f"{oracle.at}/requests?status=dead_letter").json()["items"]
    assert [i["id"] for i in listed] == [r["id"]]
    assert server.get(f"{oracle.at}/requests?status=pending").json()["items"] == []
    assert server.get(f"{oracle.at}/requests?status=nonsense").status_code == 422


def test_a_source_that_recovers_is_answered(http_source, oracle):
    path = "/recover-" + oracle.account
    http_source.then(path, status=500, body="")
    http_source.then(path, status=429, body="")
    http_source.then(path, body="[1]")
    r = oracle.answer(oracle.source(path))
    assert r["status"] == "succeeded" and r["attempts"] == 3 and r["result"] == "[1]"
    assert [a["status"] for a in r["attempt_log"]] == [500, 429, 200]


def test_nobody_listening_is_a_network_error(server, oracle):
    s = server.post(oracle.at + "/sources", json={"name": "dead", "url": "http://127.0.0.1:1/"}).json()["id"]
    r = oracle.answer(s)
    assert r["status"] == "dead_letter" and r["error_code"] == "connect"
    assert r["attempt_log"][0]["error_class"] == "connect" and r["attempt_log"][0]["status"] is None


def test_limits_of_the_answer_are_named(http_source, oracle):
    http_source.answer("/big", body="x" * 65536)
    r = oracle.answer(oracle.source("/big"))
    assert r["status"] == "failed" and r["result_code"] == "response_too_large" and "65535" in r["error"]
    http_source.answer("/fits", body="x" * 65535)
    assert oracle.answer(oracle.source("/fits"))["status"] == "succeeded"
    http_source.answer("/html", body="<p>", headers={"Content-Type": "text/html"})
    r = oracle.answer(oracle.source("/html"))
    assert r["status"] == "failed" and r["result_code"] == "content_type_not_supported" and "text/html" in r["error"]
    http_source.answer("/ld", body="{}", headers={"Content-Type": "application/ld+json"})
    assert oracle.answer(oracle.source("/ld"))["status"] == "succeeded"
    http_source.answer("/binary", body=b"\xff\xfe\x00")
    r = oracle.answer(oracle.source("/binary"))
    assert r["status"] == "failed" and r["error_code"] == "result_not_text"


def test_limits_are_visible(server):
    limits = server.get("/oracle/limits").json()
    assert limits["url_max_bytes"] == 256 and limits["filter_max_bytes"] == 128 and limits["result_max_bytes"] == 65535
    assert limits["timeout"] in ("5s", "5000ms") and limits["max_attempts"] == 3 and "application/json" in limits["content_types"]


def test_a_slow_source_times_out(http_source, oracle):
    path = "/slow-" + oracle.account
    http_source.then(path, body="late", delay=6)
    http_source.then(path, body="[]")
    r = oracle.answer(oracle.source(path))
    assert r["status"] == "succeeded" and r["attempt_log"][0]["error_class"] == "timeout"
    assert 4500 < r["attempt_log"][0]["ms"] < 6000


# ---- filter and aggregation ----

def test_a_filter_selects_from_the_answer(server, http_source, oracle):
    http_source.answer("/json", body='{"neo":{"usd":12.50,"name":"é<"},"list":[1,2,3]}')
    s = oracle.source("/json")
    for path, result in (("$.neo.usd", "[12.5]"), ("$.list[0,2]", "[1,3]"), ("$..usd", "[12.5]"), ("$.missing", "[]"),
                         ("$['neo']['name']", '["\\u00E9\\u003C"]'), ("$.list[-2:]", "[2,3]")):
        assert oracle.answer(s, filter=path)["result"] == result, path
    for bad in ("neo", "$.", "$[", "$..*", "$.a b"):
        problem(server.post(oracle.at + "/requests", json={"source_id": s, "filter": bad}), 422, "bad_filter")
    problem(server.post(oracle.at + "/requests", json={"source_id": s, "filter": "$." + "a" * 127}), 422, "filter_too_long")
    http_source.answer("/nojson", body="not json")
    r = oracle.answer(oracle.source("/nojson"), filter="$.a")
    assert r["status"] == "failed" and r["error_code"] == "filter_failed"


def test_a_bomb_of_brackets_does_no_harm(server, http_source, oracle):
    http_source.answer("/deep", body="[" * 60000)
    r = oracle.answer(oracle.source("/deep"), filter="$[0]")
    assert r["status"] == "failed" and "64 levels" in r["error"]
    assert server.get("/readyz").status_code == 200


def several(oracle, http_source, name, bodies):
    ids = []
    for i, body in enumerate(bodies):
        status = 200 if body is not None else 500
        http_source.answer(f"/{name}{i}", status=status, body=body or "")
        ids.append(oracle.source(f"/{name}{i}"))
    return ids


def test_first_takes_the_first_that_answers(http_source, oracle):
    ids = several(oracle, http_source, "first", [None, "two", "three"])
    r = oracle.answer(ids[0], alternate_source_ids=ids[1:])
    assert r["status"] == "succeeded" and r["result"] == "two" and r["attempts"] == 1
    assert [a["outcome"] for a in r["attempt_log"]] == ["retry", "succeeded"]
    assert http_source.hits("/first2") == []


def test_the_median_is_exact(http_source, oracle):
    ids = several(oracle, http_source, "median", ["0.1", "0.3", None, "0.2", "text", '"0.4"'])
    r = oracle.answer(ids[0], alternate_source_ids=ids[1:], aggregation="median")
    assert r["status"] == "succeeded" and r["result"] == "0.25"
    ids = several(oracle, http_source, "medianf", ['{"p":100.1}', '{"p":"99.9"}', '{"p":1e2}'])
    assert oracle.answer(ids[0], alternate_source_ids=ids[1:], aggregation="median", filter="$.p")["result"] == "100"
    ids = several(oracle, http_source, "nomedian", ["a", "b"])
    r = oracle.answer(ids[0], alternate_source_ids=ids[1:], aggregation="median")
    assert r["status"] == "dead_letter" and r["error_code"] == "no_numbers" and r["result_code"] == "consensus_unreachable"


def test_the_majority_is_more_than_half_of_those_that_answered(http_source, oracle):
    ids = several(oracle, http_source, "major", ["a", "b", "b", None])
    assert oracle.answer(ids[0], alternate_source_ids=ids[1:], aggregation="majority")["result"] == "b"
    ids = several(oracle, http_source, "split", ["a", "b", None])
    r = oracle.answer(ids[0], alternate_source_ids=ids[1:], aggregation="majority")
    assert r["status"] == "dead_letter" and r["error_code"] == "no_majority"


def test_sources_of_a_request_are_checked(server, oracle):
    a, b = oracle.source("/a"), oracle.source("/b")
    problem(server.post(oracle.at + "/requests", json={"source_id": a, "alternate_source_ids": [a]}), 422, "source_repeated")
    problem(server.post(oracle.at + "/requests", json={"source_id": a, "alternate_source_ids": [UNKNOWN]}), 404, "source_not_found")
    assert server.post(oracle.at + "/requests", json={"source_id": a, "alternate_source_ids": [b] * 9}).status_code == 422
    assert server.post(oracle.at + "/requests", json={"source_id": "x"}).status_code == 422
    server.patch(f"{oracle.at}/sources/{b}", json={"enabled": False})
    problem(server.post(oracle.at + "/requests", json={"source_id": b}), 409, "source_disabled")
    assert server.post(oracle.at + "/requests", json={"source_id": a, "payload": "x" * 65537}).status_code == 413


# ---- cancel, replay, deletion ----

def test_a_request_is_cancelled_while_it_runs(server, http_source, oracle):
    http_source.answer("/hang", body="late", delay=2)
    r = oracle.ask(oracle.source("/hang"))
    at = f"{oracle.at}/requests/{r['id']}"
    server.until(at, lambda b: b["status"] == "running")
    cancelled = server.post(at + "/cancel")
    assert cancelled.status_code == 200 and cancelled.json()["status"] == "cancelled"
    problem(server.post(at + "/cancel"), 409, "request_state")
    time.sleep(2.5)  # the late answer changes nothing
    body = server.get(at).json()
    assert body["status"] == "cancelled" and body["result"] is None


def test_a_replay_appends_and_keeps_what_was(server, http_source, oracle):
    http_source.answer("/replay", status=404, body="gone")
    r = oracle.answer(oracle.source("/replay"))
    assert r["status"] == "failed"
    http_source.answer("/replay", body="[1]")
    at = f"{oracle.at}/requests/{r['id']}"
    assert server.post(at + "/replay").json()["status"] in ("pending", "running", "succeeded")
    r = oracle.end(r)
    assert r["status"] == "succeeded" and r["result"] == "[1]" and r["attempts"] == 2 and r["error"] is None
    assert [a["status"] for a in r["attempt_log"]] == [404, 200]
    assert [o["status"] for o in r["earlier_outcomes"]] == ["failed"]
    http_source.answer("/replay", body="[2]")
    server.post(at + "/replay")
    r = oracle.end(r)
    assert r["result"] == "[2]" and [o["result"] for o in r["earlier_outcomes"]] == [None, "[1]"]


def test_only_what_ended_is_replayed(server, http_source, oracle):
    http_source.answer("/busy", body="x", delay=1)
    r = oracle.ask(oracle.source("/busy"))
    problem(server.post(f"{oracle.at}/requests/{r['id']}/replay"), 409, "request_state")
    problem(server.post(f"{oracle.at}/requests/{UNKNOWN}/replay"), 404, "request_not_found")
    oracle.end(r)


def test_a_removed_source_fails_what_waits_for_it(server, http_source, oracle):
    http_source.answer("/removed", status=500)
    s = oracle.source("/removed")
    r = oracle.ask(s)
    server.until(f"{oracle.at}/requests/{r['id']}", lambda b: b["attempts"] >= 1 and b["status"] == "pending")
    assert server.delete(f"{oracle.at}/sources/{s}").status_code == 204
    r = oracle.end(r)
    assert r["status"] == "failed" and r["error_code"] == "source_not_found" and "deleted" in r["error"]


def test_many_requests_are_each_fetched_once(server, http_source, oracle):
    http_source.answer("/many", body="{}")
    before = len(http_source.hits("/many"))
    s = oracle.source("/many")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: oracle.ask(s, payload={"n": n}), range(100)))
    assert all(oracle.end(r, 60)["status"] == "succeeded" for r in made)
    targets = http_source.targets("/many")[before:]
    assert len(targets) == 100 and len(set(targets)) == 100
    page = server.get(f"{oracle.at}/requests?limit=60&status=succeeded").json()
    rest = server.get(f"{oracle.at}/requests?limit=60&status=succeeded&cursor={page['next_cursor']}").json()
    ids = [i["id"] for i in page["items"] + rest["items"]]
    assert len(set(ids)) == 100 and rest["next_cursor"] is None and ids == sorted(ids, reverse=True)


def test_the_metrics_tell(server, http_source, oracle):
    http_source.answer("/metric", body="{}")
    oracle.answer(oracle.source("/metric"))
    text = server.get("/metrics").text
    assert 'oracle_requests_total{status="succeeded"}' in text
    assert 'oracle_request_attempts_total{outcome="succeeded"}' in text
