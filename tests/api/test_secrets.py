"""test_secrets.py - secrets: never shown unasked, versioned, deleted and brought back, shared by acl, rewrapped."""
import concurrent.futures
import json
import sqlite3
import pytest
from server import until

OLD = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
NEW = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100"


def problem(answer, status, code):
    assert answer.status_code == status, answer.text
    assert answer.json()["code"] == code, answer.text


@pytest.fixture
def secrets(server):
    a = server.account()
    return f"/accounts/{a}/secrets"


def test_metadata_never_holds_the_value(server, secrets):
    made = server.post(secrets, json={"name": "api-key", "value": "topsecret-1", "acl": ["oracle"]})
    assert made.status_code == 201, made.text
    body = made.json()
    assert body["name"] == "api-key" and body["acl"] == ["oracle"] and body["version"] == 1 and body["versions"] == 1
    assert len(body["key_id"]) == 8 and body["deleted_at"] is None
    for answer in (made, server.get(secrets), server.get(secrets + "/api-key"), server.get(secrets + "/api-key/versions"),
                   server.put(secrets + "/api-key", json={"value": "topsecret-2"})):
        assert answer.status_code < 300 and "topsecret" not in answer.text
    assert "topsecret" not in server.log


def test_the_value_is_read_by_its_own_route_and_version(server, secrets):
    server.post(secrets, json={"name": "k", "value": "one"})
    assert server.put(secrets + "/k", json={"value": "two"}).json()["version"] == 2
    assert server.put(secrets + "/k", json={"acl": ["oracle"]}).json()["version"] == 3
    read = server.get(secrets + "/k/value").json()
    assert read["value"] == "two" and read["version"] == 2 and read["name"] == "k"
    assert server.get(secrets + "/k/value?version=1").json()["value"] == "one"
    assert server.get(secrets + "/k/value?version=3").json()["value"] == "two"
    problem(server.get(secrets + "/k/value?version=4"), 404, "version_not_found")
    assert server.get(secrets + "/k/value?version=0").status_code == 422


def test_values_of_any_text_come_back(server, secrets):
    for i, value in enumerate(("x", "ü€😀 \" \\ \n\t", "a\u0000b", "z" * 65536)):
        assert server.post(secrets, json={"name": f"v{i}", "value": value}).status_code == 201
        assert server.get(f"{secrets}/v{i}/value").json()["value"] == value
    assert server.post(secrets, json={"name": "big", "value": "z" * 65537}).status_code in (413, 422)
    assert server.post(secrets, json={"name": "big", "value": "€" * 30000}).status_code == 413
    assert server.post(secrets, json={"name": "none", "value": ""}).status_code == 422


def test_names_are_unique_whatever_their_case(server, secrets):
    assert server.post(secrets, json={"name": "Token", "value": "v"}).status_code == 201
    problem(server.post(secrets, json={"name": "TOKEN", "value": "w"}), 409, "secret_exists")
    assert server.get(secrets + "/tOkEn").json()["name"] == "Token"
    for bad in ("a|b", "", "has space", "|", "../x", "é"):
        assert server.post(secrets, json={"name": bad, "value": "v"}).status_code == 422, bad


def test_a_write_honours_if_match_and_needs_something_to_write(server, secrets):
    server.post(secrets, json={"name": "k", "value": "one"})
    etag = server.get(secrets + "/k").headers["ETag"]
    assert server.put(secrets + "/k", json={"value": "two"}, headers={"If-Match": etag}).status_code == 200
    assert server.put(secrets + "/k", json={"value": "lost"}, headers={"If-Match": etag}).status_code == 412
    assert server.get(secrets + "/k/value").json()["value"] == "two"
    problem(server.put(secrets + "/k", json={}), 422, "invalid_input")
    problem(server.put(secrets + "/absent", json={"value": "x"}), 404, "secret_not_found")


def test_a_deleted_secret_is_gone_until_it_is_brought_back(server, secrets):
    server.post(secrets, json={"name": "k", "value": "one"})
    assert server.delete(secrets + "/k").status_code == 204
    for answer in (server.get(secrets + "/k"), server.get(secrets + "/k/value"), server.put(secrets + "/k", json={"value": "x"}),
                   server.delete(secrets + "/k")):
        problem(answer, 404, "secret_not_found")
    assert server.get(secrets).json()["items"] == []
    assert server.get(secrets + "?deleted=true").json()["items"][0]["deleted_at"] is not None
    problem(server.post(secrets, json={"name": "k", "value": "x"}), 409, "secret_exists")
    back = server.post(secrets + "/k/undelete")
    assert back.status_code == 200 and back.json()["deleted_at"] is None
    assert server.get(secrets + "/k/value").json()["value"] == "one"
    problem(server.post(secrets + "/k/undelete"), 409, "secret_not_deleted")
    assert server.delete(secrets + "/k?permanent=true").status_code == 204
    problem(server.post(secrets + "/k/undelete"), 404, "secret_not_found")
    assert server.post(secrets, json={"name": "k", "value": "anew"}).status_code == 201


def test_versions_are_listed_limited_and_destroyed(server, secrets):
    server.post(secrets, json={"name": "k", "value": "v1"})
    for n in range(2, 13):
        server.put(secrets + "/k", json={"value": f"v{n}"})
    versions = server.get(secrets + "/k/versions").json()["items"]
    assert [v["version"] for v in versions] == list(range(12, 2, -1))
    problem(server.get(secrets + "/k/value?version=2"), 404, "version_not_found")
    assert server.delete(secrets + "/k/versions/11").status_code == 204
    problem(server.get(secrets + "/k/value?version=11"), 410, "version_destroyed")
    assert server.get(secrets + "/k/value").json()["value"] == "v12"
    problem(server.delete(secrets + "/k/versions/11"), 404, "version_not_found")
    problem(server.delete(secrets + "/k/versions/x"), 404, "version_not_found")
    assert server.get(secrets + "/k").json()["versions"] == 9


def test_lists_of_unknown_accounts_are_404(server):
    problem(server.get("/accounts/01940000-0000-7000-8000-000000000000/secrets"), 404, "account_not_found")
    problem(server.post("/accounts/01940000-0000-7000-8000-000000000000/secrets", json={"name": "k", "value": "v"}), 404,
            "account_not_found")


def test_writers_at_once_lose_no_version(server, secrets):
    server.post(secrets, json={"name": "k", "value": "start"})
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: server.put(secrets + "/k", json={"value": f"w{n}"}).status_code, range(24)))
    assert answers == [200] * 24
    assert server.get(secrets + "/k").json()["version"] == 25
    for v in server.get(secrets + "/k/versions").json()["items"]:
        assert server.get(f"{secrets}/k/value?version={v['version']}").status_code == 200


def test_the_admin_sees_keys(server, secrets):
    server.post(secrets, json={"name": "k", "value": "v"})
    assert server.get("/admin/secrets/keys").status_code == 403
    keys = server.admin("GET", "/admin/secrets/keys").json()
    assert keys["remaining"] == 0 and keys["unreadable"] == 0
    assert [k["current"] for k in keys["keys"]] == [True] and keys["keys"][0]["key_id"] == keys["current"]


def durable(store, request, tmp_path):
    return request.getfixturevalue("postgres").database() if store == "postgres" else f"sqlite:{tmp_path}/rotate.db"


def test_keys_are_rotated(start, store, request, tmp_path):
    if store == "memory":
        pytest.skip("nothing outlives the process")
    dsn = durable(store, request, tmp_path)
    s = start(dsn, env={"SECRET_ENCRYPTION_KEY": OLD})
    a = s.account()
    for n in range(50):
        assert s.post(f"/accounts/{a}/secrets", json={"name": f"k{n}", "value": f"value {n}"}).status_code == 201
    old = s.admin("GET", "/admin/secrets/keys").json()["current"]
    assert s.post(f"/accounts/{a}/random", json={}).status_code == 201
    public = s.get("/random/public-key").json()
    s.stop()
    s = start(dsn, env={"SECRET_ENCRYPTION_KEY": f"{NEW},{OLD}"})
    before = s.admin("GET", "/admin/secrets/keys").json()
    assert before["current"] != old and before["remaining"] == 50
    assert s.get(f"/accounts/{a}/secrets/k7/value").json()["value"] == "value 7"
    assert s.admin("POST", "/admin/secrets/rewrap").status_code == 202
    until(lambda: not s.admin("GET", "/admin/secrets/keys").json()["running"])
    after = s.admin("GET", "/admin/secrets/keys").json()
    assert after["remaining"] == 0 and after["unreadable"] == 0 and after["rewrapped"] == 50
    assert after["keys"] == [{"key_id": before["current"], "versions": 50, "current": True}]
    s.stop()
    s = start(dsn, env={"SECRET_ENCRYPTION_KEY": NEW})
    assert s.get(f"/accounts/{a}/secrets/k49/value").json()["value"] == "value 49"
    assert s.get("/random/public-key").json() == public


def test_a_lost_key_is_said_and_skipped(start, store, request, tmp_path):
    if store == "memory":
        pytest.skip("nothing outlives the process")
    dsn = durable(store, request, tmp_path)
    s = start(dsn, env={"SECRET_ENCRYPTION_KEY": OLD, "RANDOM_SIGNING_KEY": "11" * 32})
    a = s.account()
    s.post(f"/accounts/{a}/secrets", json={"name": "k", "value": "v"})
    s.stop()
    s = start(dsn, env={"SECRET_ENCRYPTION_KEY": NEW, "RANDOM_SIGNING_KEY": "11" * 32})
    problem(s.get(f"/accounts/{a}/secrets/k/value"), 500, "secret_unreadable")
    s.admin("POST", "/admin/secrets/rewrap")
    until(lambda: not s.admin("GET", "/admin/secrets/keys").json()["running"])
    keys = s.admin("GET", "/admin/secrets/keys").json()
    assert keys["remaining"] == 1 and keys["unreadable"] == 1


def test_a_value_copied_to_another_row_does_not_open(start, tmp_path):
    path = f"{tmp_path}/swap.db"
    s = start(f"sqlite:{path}")
    a = s.account()
    for name in ("mine", "theirs"):
        s.post(f"/accounts/{a}/secrets", json={"name": name, "value": "value of " + name})
    s.stop()
    db = sqlite3.connect(path)
    rows = dict(db.execute("select s.name, v.sealed from secrets s join secret_versions v on v.secret_id = s.id").fetchall())
    assert b"value of" not in rows["mine"]
    db.execute("update secret_versions set sealed = ? where secret_id = (select id from secrets where name = 'mine')", (rows["theirs"],))
    db.commit()
    db.close()
    s = start(f"sqlite:{path}")
    problem(s.get(f"/accounts/{a}/secrets/mine/value"), 500, "secret_unreadable")
    assert s.get(f"/accounts/{a}/secrets/theirs/value").json()["value"] == "value of theirs"


def test_a_repeated_create_is_one_secret(server, secrets):
    body = {"name": "k", "value": "v"}
    assert server.post(secrets, json=body, headers={"Idempotency-Key": secrets}).status_code == 201
    assert server.post(secrets, json=body, headers={"Idempotency-Key": secrets}).status_code == 201
    assert server.post(secrets, json={**body, "value": "w"}, headers={"Idempotency-Key": secrets}).status_code == 422
    assert server.get(secrets + "/k/value").json()["value"] == "v"


def test_an_idempotency_key_does_not_keep_a_secret(start, tmp_path):
    path = f"{tmp_path}/idem.db"
    s = start(f"sqlite:{path}")
    a = s.account()
    s.post(f"/accounts/{a}/secrets", json={"name": "k", "value": "canary-5f3a"}, headers={"Idempotency-Key": "once"})
    s.get(f"/accounts/{a}/secrets/k/value")
    s.stop()
    with open(path, "rb") as f:
        assert b"canary-5f3a" not in f.read()
    assert "canary-5f3a" not in json.dumps(s.log)
