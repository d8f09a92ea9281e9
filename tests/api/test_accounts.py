"""test_accounts.py - accounts: made, read, changed with If-Match, listed by page, deleted with everything below them."""


def problem(answer, status, code):
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.json()["code"] == code, answer.text


def test_an_account_is_made_and_read(server):
    made = server.post("/accounts", json={"owner": "alice", "metadata": {"team": "core", "x": ""}}, tenant="t1")
    assert made.status_code == 201, made.text
    body = made.json()
    assert set(body) == {"id", "tenant", "owner", "metadata", "version", "created_at", "updated_at"}
    assert body["owner"] == "alice" and body["tenant"] == "t1" and body["metadata"] == {"team": "core", "x": ""}
    assert body["created_at"] == body["updated_at"] and body["created_at"].endswith("Z") and len(body["created_at"]) == 27
    read = server.get(f"/accounts/{body['id']}", tenant="t1")
    assert read.status_code == 200 and read.json() == body
    assert read.headers["ETag"] == '"1"'


def test_metadata_is_optional_and_input_is_checked(server):
    assert server.post("/accounts", json={"owner": "o"}).json()["metadata"] == {}
    for bad in ({}, {"owner": ""}, {"owner": 5}, {"owner": "o", "metadata": {"a": 1}}, {"owner": "o", "extra": 1},
                {"owner": "x" * 257}):
        answer = server.post("/accounts", json=bad)
        assert answer.status_code == 422, (bad, answer.text)
        assert answer.json()["errors"], answer.text


def test_a_change_counts_and_honours_if_match(server):
    a = server.account()
    changed = server.patch(f"/accounts/{a}", json={"owner": "bob"}, headers={"If-Match": '"1"'})
    assert changed.status_code == 200 and changed.json()["owner"] == "bob" and changed.headers["ETag"] == '"2"'
    assert server.patch(f"/accounts/{a}", json={"owner": "eve"}, headers={"If-Match": '"1"'}).status_code == 412
    assert server.patch(f"/accounts/{a}", json={"metadata": {"k": "v"}}, headers={"If-Match": "*"}).json()["owner"] == "bob"
    assert server.patch(f"/accounts/{a}", json={"owner": "carol"}).json()["metadata"] == {"k": "v"}
    problem(server.patch(f"/accounts/{a}", json={}), 422, "invalid_input")


def test_what_is_not_there_is_404(server):
    unknown = "01940000-0000-7000-8000-000000000000"
    problem(server.get(f"/accounts/{unknown}"), 404, "account_not_found")
    problem(server.patch(f"/accounts/{unknown}", json={"owner": "x"}), 404, "account_not_found")
    problem(server.delete(f"/accounts/{unknown}"), 404, "account_not_found")
    assert server.get("/accounts/..%2f..%2fetc").status_code in (400, 404)


def test_another_tenants_account_is_404_for_every_verb(server):
    a = server.account(tenant="red")
    for method, body in (("GET", None), ("PATCH", {"owner": "x"}), ("DELETE", None)):
        problem(server.request(method, f"/accounts/{a}", json=body, tenant="blue"), 404, "account_not_found")
    assert server.get(f"/accounts/{a}", tenant="red").json()["owner"] == "alice"


def test_the_list_is_paged_newest_first_and_stable(server):
    made = [server.account(tenant="pages") for _ in range(5)]
    first = server.get("/accounts?limit=2", tenant="pages").json()
    assert [i["id"] for i in first["items"]] == made[:2:-1]
    server.account(tenant="pages")  # an insert between two pages shifts nothing
    second = server.get(f"/accounts?limit=2&cursor={first['next_cursor']}", tenant="pages").json()
    assert [i["id"] for i in second["items"]] == [made[2], made[1]]
    last = server.get(f"/accounts?limit=2&cursor={second['next_cursor']}", tenant="pages").json()
    assert [i["id"] for i in last["items"]] == [made[0]] and last["next_cursor"] is None


def test_delete_honours_if_match_and_answers_nothing(server):
    a = server.account()
    assert server.delete(f"/accounts/{a}", headers={"If-Match": '"9"'}).status_code == 412
    gone = server.delete(f"/accounts/{a}", headers={"If-Match": '"1"'})
    assert gone.status_code == 204 and gone.content == b""
    problem(server.delete(f"/accounts/{a}"), 404, "account_not_found")
