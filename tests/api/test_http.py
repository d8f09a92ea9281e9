"""test_http.py - the manners that every route shares: errors, methods, paging, ids, times, idempotency, tokens, tenants."""
import json
import re
import threading
import pytest

TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")
UUID7 = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")


def problem(answer, status, code=None):
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert set(body) >= {"type", "title", "status", "detail", "instance", "code", "trace_id"}, body
    if code:
        assert body["code"] == code, body
    return body


def test_an_object_has_id_times_and_etag(server):
    answer = server.post("/accounts", json={"owner": "alice"})
    body = answer.json()
    assert UUID7.match(body["id"]) and TIME.match(body["created_at"]) and TIME.match(body["updated_at"])
    assert answer.headers["ETag"] == '"1"'
    assert server.get("/accounts/" + body["id"]).json() == body


def test_no_or_wrong_token_is_401(server):
    for token in (None, "wrong"):
        answer = server.get("/accounts", token=token)
        problem(answer, 401)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    problem(server.request("GET", "/accounts", token=None, headers={"Authorization": "Basic dGVzdA=="}), 401)


def test_service_token_cannot_do_what_admins_do(server):
    problem(server.get("/admin/jobs"), 403)
    assert server.admin("GET", "/admin/jobs").status_code == 200


def test_unknown_path_404_and_wrong_method_405_with_allow(server):
    problem(server.get("/nothing/here"), 404)
    answer = server.delete("/accounts")
    problem(answer, 405)
    assert set(re.split(r",\s*", answer.headers["Allow"])) >= {"GET", "POST"}
    answer = server.request("OPTIONS", "/accounts")
    assert answer.status_code == 204 and "POST" in answer.headers["Allow"]


def test_head_is_get_without_body(server):
    get, head = server.get("/accounts"), server.request("HEAD", "/accounts")
    assert head.status_code == 200 and head.content == b""
    assert head.headers["Content-Type"] == get.headers["Content-Type"]


@pytest.mark.parametrize("body,status", [
    (b"{", 400), (b"", 400), (b'{"owner":"a","owner":"b"}', 400), (b'{"owner":"\xff"}', 400), (b"[" * 2000, 400),
    (b"[]", 422), (b"{}", 422), (b'{"owner":7}', 422), (b'{"owner":"a","colour":"red"}', 422), (b'{"owner":""}', 422),
    (b'{"owner":"a","metadata":{"k":7}}', 422)])
def test_bad_bodies(server, body, status):
    answer = server.request("POST", "/accounts", data=body, headers={"Content-Type": "application/json"})
    found = problem(answer, status)
    if status == 422:
        assert found["errors"] and all(set(e) == {"pointer", "detail"} for e in found["errors"])


def test_schema_failures_point_at_the_field(server):
    answer = server.post("/accounts", json={"owner": "a", "metadata": {"k": 7}, "colour": 1})
    pointers = {e["pointer"] for e in problem(answer, 422)["errors"]}
    assert pointers == {"/metadata/k", "/colour"}


def test_wrong_content_type_is_415(server):
    problem(server.request("POST", "/accounts", data=b"owner=alice",
                           headers={"Content-Type": "application/x-www-form-urlencoded"}), 415)


def test_body_over_the_limit_is_413(server):
    big = json.dumps({"owner": "a", "metadata": {"k": "x" * (2 << 20)}})
    problem(server.request("POST", "/accounts", data=big, headers={"Content-Type": "application/json"}), 413)


def test_lists_are_paged_and_stable_under_inserts(server):
    tenant = "paging"
    ids = [server.account(f"o{i}", tenant=tenant) for i in range(7)]
    seen, path = [], "/accounts?limit=3"
    while path:
        answer = server.get(path, tenant=tenant)
        page = answer.json()
        seen += [item["id"] for item in page["items"]]
        server.account("late", tenant=tenant)  # an insert between pages neither repeats nor hides a row
        if page["next_cursor"] is None:
            assert "Link" not in answer.headers
            break
        link = re.match(r'<([^>]+)>; rel="next"', answer.headers["Link"])
        path = link.group(1)
        assert page["next_cursor"] in path
    assert seen == ids[::-1]


def test_bad_paging_is_refused(server):
    for query in ("limit=0", "limit=x", "limit=100000", "cursor=!!", "cursor=AAAA", "colour=red"):
        answer = server.get("/accounts?" + query)
        assert answer.status_code in (400, 422), (query, answer.text)
        assert query.split("=")[0] in answer.text


def test_idempotency_key_repeats_the_answer(server):
    headers = {"Idempotency-Key": f"k-{server.store}"}
    first = server.post("/accounts", json={"owner": "once"}, headers=headers)
    second = server.post("/accounts", json={"owner": "once"}, headers=headers)
    assert first.status_code == second.status_code == 201
    assert first.content == second.content and second.headers["Idempotency-Hit"] == "true"
    assert second.headers["ETag"] == first.headers["ETag"]
    problem(server.post("/accounts", json={"owner": "other"}, headers=headers), 422, "idempotency_key_reused")
    assert server.post("/accounts", json={"owner": "once"}, headers=headers, tenant="elsewhere").json()["id"] != first.json()["id"]


def test_racing_requests_with_one_key_have_one_effect(server):
    tenant, answers = "race", []

    def go():
        import requests
        answers.append(requests.post(server.url + "/accounts", json={"owner": "racer"}, timeout=30, headers={
            "Authorization": "Bearer test-token", "X-Tenant-ID": tenant, "Idempotency-Key": "race"}))

    threads = [threading.Thread(target=go) for _ in range(24)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(server.get("/accounts?limit=100", tenant=tenant).json()["items"]) == 1
    assert {a.status_code for a in answers} <= {201, 409}
    assert len({a.json()["id"] for a in answers if a.status_code == 201}) == 1


def test_if_match_guards_an_update(server):
    a = server.account()
    assert server.patch(f"/accounts/{a}", json={"owner": "bob"}, headers={"If-Match": '"1"'}).status_code == 200
    problem(server.patch(f"/accounts/{a}", json={"owner": "eve"}, headers={"If-Match": '"1"'}), 412)
    answer = server.patch(f"/accounts/{a}", json={"owner": "dan"}, headers={"If-Match": "*"})
    assert answer.status_code == 200 and answer.headers["ETag"] == '"3"'


def test_request_id_and_trace_are_echoed(server):
    trace = "0af7651916cd43dd8448eb211c80319c"
    answer = server.get("/nothing", headers={"X-Request-Id": "my-id-1", "traceparent": f"00-{trace}-b7ad6b7169203331-01"})
    assert answer.headers["X-Request-Id"] == "my-id-1"
    assert problem(answer, 404)["trace_id"] == trace
    assert server.get("/accounts").headers["X-Request-Id"]


def test_bad_tenant_is_refused(server):
    assert server.get("/accounts", tenant="a b/c").status_code in (400, 403)


def test_health_needs_no_token(server):
    for path in ("/livez", "/readyz", "/healthz"):
        assert server.get(path, token=None).status_code == 200
    verbose = server.get("/readyz?verbose", token=None)
    assert verbose.status_code == 200 and "store" in verbose.text and "oracle" in verbose.text


def test_metrics_use_templates_never_ids(server):
    a = server.account()
    server.get(f"/accounts/{a}")
    text = server.get("/metrics", token=None).text
    assert a not in text
    assert re.search(r'http_requests_total\{method="GET",route="/accounts/\{account\}",status="200"\} [1-9]', text)
    for name in ("http_request_duration_seconds_bucket", 'service_module_status{module="oracle",status="started"} 1',
                 "db_connections_active", "process_resident_memory_bytes"):
        assert name in text, name


def test_system_status_lists_modules(server):
    body = server.get("/system/status").json()
    modules = {m["name"]: m for m in body["modules"]}
    assert set(modules) >= {"store", "accounts", "secrets", "oracle", "random"}
    for m in modules.values():
        assert m["status"] == "started", m
    assert "accounts" in modules["oracle"]["needs"]
    assert server.get("/system/status", token=None).status_code == 401
    assert server.get("/system/version", token=None).json()["version"]
