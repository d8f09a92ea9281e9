"""test_story.py - a newcomer's way: account, secret, data source, oracle request, the answer that was really fetched."""


def test_from_nothing_to_a_fetched_answer(server, http_source):
    http_source.answer("/story/price", body='{"neo":{"usd":"12.5"}}')
    before = len(http_source.hits("/story/price"))
    account = server.post("/accounts", json={"owner": "alice", "metadata": {"team": "core"}})
    assert account.status_code == 201, account.text
    a = account.json()["id"]
    secret = server.post(f"/accounts/{a}/secrets", json={"name": "api-key", "value": "s3cr3t", "acl": ["oracle"]})
    assert secret.status_code == 201, secret.text
    assert "s3cr3t" not in secret.text
    source = server.post(f"/accounts/{a}/oracle/sources", json={
        "name": "prices", "url": http_source.url + "/story/price", "method": "GET",
        "headers": {"Authorization": "Bearer {{secret:api-key}}"}})
    assert source.status_code == 201, source.text
    body = {"source_id": source.json()["id"]}
    request = server.post(f"/accounts/{a}/oracle/requests", json=body, headers={"Idempotency-Key": "story-1"})
    assert request.status_code == 201, request.text
    path = f"/accounts/{a}/oracle/requests/{request.json()['id']}"
    answer = server.until(path, lambda r: r["status"] not in ("pending", "running"))
    assert answer["status"] == "succeeded", answer
    assert answer["result"] == '{"neo":{"usd":"12.5"}}'
    assert answer["attempts"] == 1 and answer["error"] is None
    again = server.post(f"/accounts/{a}/oracle/requests", json=body, headers={"Idempotency-Key": "story-1"})
    assert again.status_code == 201 and again.json()["id"] == request.json()["id"]
    assert again.headers["Idempotency-Hit"] == "true"
    hits = http_source.hits("/story/price")[before:]
    assert len(hits) == 1
    assert hits[0][1]["Authorization"] == "Bearer s3cr3t"
    assert "s3cr3t" not in server.get(f"/accounts/{a}/oracle/sources").text
    assert "s3cr3t" not in server.log


def test_deleting_the_account_leaves_nothing(server, http_source):
    http_source.answer("/story/gone", body="{}")
    a = server.account()
    server.post(f"/accounts/{a}/secrets", json={"name": "k", "value": "v"})
    s = server.post(f"/accounts/{a}/oracle/sources", json={"name": "s", "url": http_source.url + "/story/gone"}).json()["id"]
    r = server.post(f"/accounts/{a}/oracle/requests", json={"source_id": s}).json()["id"]
    server.until(f"/accounts/{a}/oracle/requests/{r}", lambda b: b["status"] == "succeeded")
    assert server.post(f"/accounts/{a}/random", json={"length": 8}).status_code == 201
    assert server.delete(f"/accounts/{a}").status_code == 204
    for path in ("", "/secrets", "/secrets/k", "/oracle/sources", f"/oracle/sources/{s}", "/oracle/requests",
                 f"/oracle/requests/{r}", "/random"):
        answer = server.get(f"/accounts/{a}{path}")
        assert answer.status_code == 404, (path, answer.text)


def test_another_tenant_sees_nothing(server):
    a = server.account(tenant="red")
    assert server.get(f"/accounts/{a}", tenant="red").status_code == 200
    for path in ("", "/secrets", "/oracle/sources", "/oracle/requests", "/random"):
        assert server.get(f"/accounts/{a}{path}", tenant="blue").status_code == 404, path
    assert server.post(f"/accounts/{a}/secrets", json={"name": "k", "value": "v"}, tenant="blue").status_code == 404
    assert server.delete(f"/accounts/{a}", tenant="blue").status_code == 404
    assert a not in server.get("/accounts", tenant="blue").text
