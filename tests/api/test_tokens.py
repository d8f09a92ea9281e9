"""test_tokens.py - tokens made at run time: shown once, kept hashed, held to role, scopes and tenants, revocable."""
import datetime
import time
import pytest
from server import ADMIN, TOKEN, until


def make(server, expect=201, **body):
    answer = server.admin("POST", "/admin/tokens", json={"name": "t", "tenants": ["acme"]} | body)
    assert answer.status_code == expect, answer.text
    return answer.json()


def in_future(seconds):
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return at.isoformat().replace("+00:00", "Z")


def test_a_token_is_shown_once_and_kept_as_a_hash(server):
    made = make(server, name="billing", expires_at=in_future(3600))
    assert made["token"].startswith("slt_") and len(made["token"]) == 47
    assert made["role"] == "service" and made["scopes"] is None and made["tenants"] == ["acme"]
    assert made["created_by"].startswith("token:") and made["last_used_at"] is None and made["revoked_at"] is None
    shown = server.admin("GET", f"/admin/tokens/{made['id']}")
    assert made["token"] not in shown.text and "hash" not in shown.json()
    assert shown.json() == {k: v for k, v in made.items() if k != "token"}
    assert shown.json() in server.admin("GET", "/admin/tokens?limit=500").json()["items"]
    assert made["token"] not in server.log
    assert server.get("/system/limits", token=made["token"]).json()["actor"] == f"token:{made['id']}"


def test_a_token_holds_what_role_and_scopes_both_cover(server):
    reader = make(server, role="reader")["token"]
    assert server.get("/accounts", token=reader).status_code == 200
    refused = server.post("/accounts", json={"owner": "x"}, token=reader)
    assert refused.status_code == 403 and "`accounts:write`" in refused.json()["detail"]
    assert 'scope="accounts:write"' in refused.headers["WWW-Authenticate"]
    narrow = make(server, role="service", scopes=["accounts:*"])["token"]
    assert server.post("/accounts", json={"owner": "x"}, token=narrow).status_code == 201
    assert server.get("/system/status", token=narrow).status_code == 403
    wide = make(server, role="reader", scopes=["*", "admin", "accounts:write"])["token"]
    assert server.post("/accounts", json={"owner": "x"}, token=wide).status_code == 403
    assert server.get("/admin/tokens", token=wide).status_code == 403
    admin = make(server, role="admin")["token"]
    assert server.get("/admin/tokens", token=admin, tenant="any").status_code == 200


def test_a_tenant_is_a_right(server):
    token = make(server, tenants=["first", "second"])["token"]
    assert server.get("/system/limits", token=token).json()["tenant"] == "first"
    assert server.get("/system/limits", token=token, tenant="second").json()["tenant"] == "second"
    other = server.get("/system/limits", token=token, tenant="third")
    assert other.status_code == 403 and other.json()["code"] == "tenant_forbidden"
    every = make(server, tenants=["*"])["token"]
    assert server.get("/system/limits", token=every, tenant="third").json()["tenant"] == "third"
    assert server.get("/system/limits", token=every).json()["tenant"] == "default"


@pytest.mark.parametrize("body, code", [
    ({"role": "emperor"}, "unknown_role"),
    ({"tenants": []}, "invalid_input"),
    ({"tenants": ["a b"]}, "invalid_input"),
    ({"tenants": ['a"]["b']}, "invalid_input"),
    ({"tenants": ["a/b"]}, "invalid_input"),
    ({"scopes": ["*:*"]}, "invalid_input"),
    ({"scopes": ["oracle:re*"]}, "invalid_input"),
    ({"scopes": []}, "invalid_input"),
    ({"expires_at": "2020-01-01T00:00:00Z"}, "invalid_input"),
    ({"expires_at": "tomorrow"}, "invalid_input"),
    ({"name": ""}, "invalid_input"),
])
def test_what_a_token_may_not_be(server, body, code):
    assert make(server, expect=422, **body)["code"] == code


def test_only_administrators_make_tokens(server):
    for method, path in (("POST", "/admin/tokens"), ("GET", "/admin/tokens"), ("DELETE", "/admin/tokens/x"),
                         ("GET", "/admin/roles"), ("POST", "/admin/revocations")):
        assert server.request(method, path).status_code == 403
        assert server.request(method, path, token=None).status_code == 401
    assert server.admin("GET", "/admin/tokens/x").json()["code"] == "token_not_found"
    assert server.admin("DELETE", "/admin/tokens/x").json()["code"] == "token_not_found"
    roles = {r["name"]: r["scopes"] for r in server.admin("GET", "/admin/roles").json()["items"]}
    assert roles["admin"] == ["*", "admin", "admin:*"] and roles["reader"] == ["*:read", "metrics"]


def test_a_revoked_token_is_refused_at_once(server):
    made = make(server)
    assert server.get("/accounts", token=made["token"]).status_code == 200
    assert server.admin("DELETE", f"/admin/tokens/{made['id']}").status_code == 204
    refused = server.get("/accounts", token=made["token"])
    assert refused.status_code == 401 and "invalid_token" in refused.headers["WWW-Authenticate"]
    shown = server.admin("GET", f"/admin/tokens/{made['id']}").json()
    assert shown["revoked_at"] and shown["revoked_by"].startswith("token:")
    assert server.admin("DELETE", f"/admin/tokens/{made['id']}").status_code == 204
    assert server.admin("GET", f"/admin/tokens/{made['id']}").json()["revoked_at"] == shown["revoked_at"]


def test_an_expired_token_is_refused(start):
    server = start()
    made = make(server, expires_at=in_future(3))
    until(lambda: server.get("/accounts", token=made["token"]).status_code == 401)


def test_last_use_is_shown(start):
    server = start()
    made = make(server)
    assert server.get("/accounts", token=made["token"]).status_code == 200
    until(lambda: server.admin("GET", f"/admin/tokens/{made['id']}").json()["last_used_at"], seconds=40)


def test_wrong_tokens_of_the_right_form(server):
    wrong = "slt_" + "A" * 43
    assert server.get("/accounts", token=wrong).status_code == 401
    assert server.post("/accounts", json={"owner": 5}, token=wrong).status_code == 401  # before its body is judged
    assert server.get("/livez", token=wrong).status_code == 200
    assert server.get("/metrics", token=wrong).status_code == 200
    assert server.get("/nowhere", token=wrong).status_code == 404


def test_a_flood_of_wrong_tokens_is_held_off_before_the_store(start):
    s = start(env={"LIMITS_ADDRESS": "1/h burst 5"})
    seen = [s.get("/accounts", token="slt_" + str(i).zfill(43)).status_code for i in range(12)]
    assert seen[:5] == [401] * 5 and set(seen[5:]) == {429}, seen
    assert s.get("/accounts").status_code == 200  # a known token has a bucket of its own


def test_tokens_outlive_the_server_and_work_in_every_replica(start, postgres):
    dsn = postgres.database()
    a, b = start(dsn), start(dsn)
    made = make(a, name="both")
    for s in (b, a):
        assert s.get("/accounts", token=made["token"]).status_code == 200
    a.stop()
    a.start()
    assert a.get("/accounts", token=made["token"]).status_code == 200
    assert a.admin("DELETE", f"/admin/tokens/{made['id']}").status_code == 204
    until(lambda: b.get("/accounts", token=made["token"]).status_code == 401)


def test_idempotent_creation_keeps_no_token(server):
    key = {"Idempotency-Key": f"make-{time.monotonic_ns()}"}
    body = {"name": "once", "tenants": ["acme"]}
    first = server.admin("POST", "/admin/tokens", json=body, headers=key)
    again = server.admin("POST", "/admin/tokens", json=body, headers=key)
    assert first.status_code == again.status_code == 201 and again.headers["Idempotency-Hit"] == "true"
    assert "slt_" in first.text and again.text == ""


def test_configured_tokens_still_work(server):
    assert server.get("/accounts", token=TOKEN).status_code == 200
    assert server.get("/admin/tokens", token=ADMIN).status_code == 200
