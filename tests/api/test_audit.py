"""test_audit.py - the audit log: what is recorded, filters, the chain and its check, the file, and failing closed."""
import json
import subprocess
import threading
import time
import uuid
import pytest
from server import APPSERVER, TOKEN, until

SERVER_ENV = {"AUDIT_REFUSALS": "500"}
FIELDS = {"id", "seq", "at", "user", "role", "tenant", "method", "route", "target", "status", "code", "outcome", "request_id",
          "trace_id", "address", "count", "hash"}
NOBODY = "/accounts/0199aaaa-0000-7000-8000-000000000000"


def records(server, **filters):
    answer = server.admin("GET", "/admin/audit", params={"limit": 500, **filters})
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


def record_of(server, answer):
    """The record of an answer's request, once it is there; refusals follow within a second."""
    wanted = answer.headers["X-Request-Id"]
    return until(lambda: [r for r in records(server) if r["request_id"] == wanted and r["status"]])[0]


def sealed(server):
    head = lambda: server.admin("GET", "/admin/audit/head").json()
    return until(lambda: (lambda h: h if h["waiting"] == 0 and h["seq"] > 0 else None)(head()))


def verify(*files, text=None):
    done = subprocess.run([APPSERVER, "-audit-verify", *map(str, files)], input=text, capture_output=True, text=True, timeout=30)
    return done.returncode, done.stdout


# ---- what is recorded ----
def test_a_changing_call_is_recorded_with_who_what_and_where(server):
    answer = server.post("/accounts", json={"owner": "audited"}, tenant="acme",
                         headers={"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"})
    assert answer.status_code == 201
    r = record_of(server, answer)
    assert set(r) == FIELDS
    assert (r["method"], r["route"], r["target"], r["status"], r["code"], r["count"]) == ("POST", "/accounts", "/accounts", 201, None, 1)
    assert r["user"].startswith("token:") and r["role"] == "service" and r["tenant"] == "acme" and r["address"] == "127.0.0.1"
    assert r["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    read = server.get("/accounts", tenant="acme")
    assert read.status_code == 200
    marker = server.post("/accounts", json={"owner": "marker"})
    record_of(server, marker)
    assert not [r for r in records(server) if r["request_id"] == read.headers["X-Request-Id"]], "reads are not recorded"


JSON = {"Content-Type": "application/json"}
REFUSED = [("GET", "/accounts", dict(token=None), 401, "unauthorized"), ("GET", "/accounts", dict(token="wrong"), 401, "unauthorized"),
           ("GET", "/admin/modules", {}, 403, "forbidden"), ("GET", NOBODY, {}, 404, "account_not_found"),
           ("GET", "/nowhere", {}, 404, "not_found"), ("TRACE", "/accounts", {}, 405, "method_not_allowed"),
           ("POST", "/accounts", dict(json={"wrong": 1}), 422, "invalid_input"),
           ("POST", "/accounts", dict(data="{", headers=JSON), 400, "malformed_json"), ("DELETE", NOBODY, {}, 404, "account_not_found")]


def test_refused_calls_are_recorded(server):
    for method, path, more, status, code in REFUSED:
        answer = server.request(method, path, **more)
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
        r = record_of(server, answer)
        assert (r["method"], r["target"], r["status"], r["code"]) == (method, path, status, code)
        assert r["trace_id"] == answer.json()["trace_id"] and (r["user"] == "anonymous") == (status == 401 or r["route"] is None)


def test_secrets_bodies_and_queries_are_never_recorded(start, tmp_path):
    canary = "canary-" + uuid.uuid4().hex
    server = start(f"sqlite:{tmp_path}/a.db", env={"AUDIT_LOG_PATH": f"{tmp_path}/audit.jsonl"})
    account = server.account()
    last = [server.post(f"/accounts/{account}/secrets", json={"name": "key", "value": canary}),
            server.post("/accounts", json={"owner": canary, "oops": canary}),
            server.post("/accounts", data="{" + canary, headers={"Content-Type": "application/json"}),
            server.get(f"/accounts?token={canary}"), server.get(f"/nowhere?token={canary}"),
            server.get("/accounts", token=canary), server.get("/accounts", headers={"Cookie": canary, "User-Agent": canary})]
    assert last[0].status_code == 201, last[0].text
    for answer in last[:-1]:
        record_of(server, answer)
    sealed(server)
    assert canary not in json.dumps(records(server)) + server.admin("GET", "/admin/audit/export").text
    assert canary not in open(f"{tmp_path}/audit.jsonl").read()
    server.stop()
    rows = subprocess.run(["/usr/bin/python3", "-c", "import sqlite3,sys; print(sqlite3.connect(sys.argv[1]).execute("
                           "'select * from sl_audit').fetchall())", f"{tmp_path}/a.db"], capture_output=True, text=True, check=True).stdout
    assert "/accounts" in rows and canary not in rows


def test_module_administration_is_recorded_before_and_with_its_outcome_in_words(server):
    good = server.admin("POST", "/admin/modules/random/reload")
    assert good.status_code == 200, good.text
    bad = server.admin("POST", "/admin/modules/random/reload", headers={"If-Match": '"old"'})
    assert bad.status_code == 412
    assert "serves" in record_of(server, good)["outcome"] and "reload random" in record_of(server, good)["outcome"]
    assert "refused" in record_of(server, bad)["outcome"]
    before = [r for r in records(server) if r["request_id"] == good.headers["X-Request-Id"] and r["status"] is None]
    assert len(before) == 1 and before[0]["outcome"] == "reload random: begins" and before[0]["role"] == "admin"


def test_an_answer_given_again_is_recorded_as_such(server):
    key = {"Idempotency-Key": uuid.uuid4().hex}
    first, again = [server.post("/accounts", json={"owner": "twice"}, headers=key) for _ in range(2)]
    assert again.headers["Idempotency-Hit"] == "true" and first.json() == again.json()
    assert record_of(server, first)["outcome"] is None
    assert record_of(server, again)["outcome"] == "answered again from its Idempotency-Key"


def test_a_flood_of_refusals_is_counted_not_written_out(start):
    server = start(env={"AUDIT_REFUSALS": "20", "LOG_LEVEL": "warn"})
    for _ in range(400):
        assert server.get("/accounts", token=None).status_code == 401
    assert server.get("/accounts", token="another-caller-is-not-hidden-by-it", headers={}).status_code == 401
    total = lambda: [r for r in records(server, status=401)]
    found = until(lambda: total() if sum(r["count"] for r in total()) == 401 else None, 30)
    assert len(found) <= 4 * 21, "at most four windows of ten seconds"
    assert any(r["count"] > 1 and "counted" in r["outcome"] for r in found)


# ---- the list ----
def test_filters(server):
    mark = "f" + uuid.uuid4().hex[:12]
    since = "2020-01-01T00:00:00Z"
    answers = [server.post("/accounts", json={"owner": "x"}, tenant=mark), server.get(f"/nowhere/{mark}/a%25b_c", tenant=mark),
               server.admin("DELETE", NOBODY, tenant=mark)]
    assert [a.status_code for a in answers] == [201, 404, 404]
    mine = [record_of(server, a) for a in answers]
    of = lambda **filters: [r["id"] for r in records(server, **filters)]
    assert of(tenant=mark) == [mine[2]["id"], mine[0]["id"]], "a path without a route knows no tenant"
    assert of(contains=mark) == [mine[1]["id"]] and of(contains=f"{mark}/a%25b_c") == [mine[1]["id"]]
    assert of(contains=f"{mark}/a%25b%c") == [] and of(contains=f"{mark}/a____b_c") == [], "no wildcards"
    assert of(tenant=mark, method="DELETE") == [mine[2]["id"]] == of(tenant=mark, role="admin") == of(tenant=mark, status=404)
    assert of(tenant=mark, user=mine[0]["user"]) == [mine[0]["id"]]
    assert of(tenant=mark, since=mine[2]["at"]) == [mine[2]["id"]] and of(tenant=mark, until=mine[2]["at"]) == [mine[0]["id"]]
    assert of(tenant=mark, since=since, until="2099-01-01T00:00:00+02:00") == of(tenant=mark)
    assert of(tenant=mark, until=since) == []
    for bad in ({"status": "x"}, {"method": "BREW"}, {"since": "yesterday"}, {"limit": "0"}, {"cursor": "x"}, {"usr": "x"}):
        assert server.admin("GET", "/admin/audit", params=bad).status_code == 422
    assert server.get("/admin/audit").status_code == 403 and server.get("/admin/audit/export").status_code == 403


def test_pages_neither_repeat_nor_lose_records_while_others_come_in(server):
    mark = "p" + uuid.uuid4().hex[:12]
    ids = [record_of(server, server.post("/accounts", json={"owner": "x"}, tenant=mark))["id"] for _ in range(7)]
    seen, path = [], f"/admin/audit?limit=3&tenant={mark}"
    while path:
        answer = server.admin("GET", path)
        seen += [r["id"] for r in answer.json()["items"]]
        server.post("/accounts", json={"owner": "x"}, tenant=mark)
        path = answer.links["next"]["url"] if "next" in answer.links else None
    assert seen == ids[::-1]


# ---- the chain ----
@pytest.fixture(scope="module")
def lines(server):
    """Exported lines of at least eight records."""
    while sealed(server)["seq"] < 8:
        server.post("/accounts", json={"owner": "chain"})
    return server.admin("GET", "/admin/audit/export").text.splitlines()


def test_the_export_is_an_intact_chain_up_to_the_head(server, lines, tmp_path):
    code, said = verify("-", text="\n".join(lines) + "\n")
    assert code == 0 and f"{len(lines)} records, 1 to {len(lines)}, intact" in said
    head = sealed(server)
    text = server.admin("GET", "/admin/audit/export?after=5").text
    assert json.loads(text.splitlines()[0])["seq"] == 6 and verify("-", text=text)[0] == 0
    assert json.loads(text.splitlines()[-1])["seq"] >= head["seq"]
    assert server.admin("GET", "/admin/audit/export?after=99999999").status_code == 404


@pytest.mark.parametrize("spoil, line, word", [
    (lambda l: l[:3] + [l[3].replace('"role":"', '"role":"x')] + l[4:], 4, "changed"),
    (lambda l: l[:3] + l[4:], 4, "missing"),
    (lambda l: l[:3] + [l[4], l[3]] + l[5:], 4, "missing"),
    (lambda l: l[:4] + [l[3]] + l[4:], 5, "twice"),
    (lambda l: l[:3] + ["{}"] + l[4:], 4, "no record"),
    (lambda l: l[:3] + [l[3][:50]], 4, "no record"),
    (lambda l: [l[0].replace('"prev":"0', '"prev":"1')] + l[1:], 1, "claims to be the first"),
], ids=["changed", "missing", "reordered", "repeated", "foreign", "shortened", "first"])
def test_the_check_names_the_line(lines, spoil, line, word):
    code, said = verify("-", text="\n".join(spoil(lines)) + "\n")
    assert code == 1 and "NOT intact" in said
    assert any(s.startswith(f"-:{line}: ") and word in s for s in said.splitlines()), said


def test_a_forged_record_with_a_fresh_hash_breaks_the_next(lines):
    import hashlib
    body = lines[3][:lines[3].rindex(',"hash"')].replace('"method":"', '"method":"X')
    forged = body + ',"hash":"%s"}' % hashlib.sha256(body.encode()).hexdigest()
    code, said = verify("-", text="\n".join(lines[:3] + [forged] + lines[4:]) + "\n")
    assert code == 1 and "-:5: record 5: it does not follow" in said


def test_a_row_changed_in_the_database_shows(postgres, start):
    import psycopg2
    dsn = postgres.database()
    server = start(dsn)
    for _ in range(5):
        server.account()
    sealed(server)
    db = psycopg2.connect(dsn)
    db.autocommit = True
    db.cursor().execute("update sl_audit set status = 500 where seq = 3")
    code, said = verify("-", text=server.admin("GET", "/admin/audit/export").text)
    assert code == 1 and "record 3: it was changed" in said
    db.cursor().execute("delete from sl_audit where seq = 4")
    assert "-:4: record 5: 4 to 4 are missing" in verify("-", text=server.admin("GET", "/admin/audit/export").text)[1]
    db.close()


def test_two_replicas_keep_one_chain(postgres, start, tmp_path):
    dsn = postgres.database()
    servers = [start(dsn, env={"LOG_LEVEL": "warn", "AUDIT_LOG_PATH": f"{tmp_path}/{i}.jsonl"}) for i in range(2)]

    def work(server):
        for i in range(60):
            assert server.post("/accounts", json={"owner": "x"}).status_code == 201
            assert server.get(NOBODY).status_code == 404

    threads = [threading.Thread(target=work, args=(s,)) for s in servers]
    [t.start() for t in threads]
    [t.join() for t in threads]
    until(lambda: sum(r["count"] for r in records(servers[0], status=404)) == 120, 30)
    assert len(records(servers[0], status=201)) == 120
    head = sealed(servers[1])
    code, said = verify("-", text=servers[1].admin("GET", "/admin/audit/export").text)
    assert code == 0 and head["hash"] in said, said
    for i in range(2):
        assert verify(tmp_path / f"{i}.jsonl")[0] == 0


def test_old_records_leave_the_store_and_the_rest_is_still_a_chain(postgres, start):
    import psycopg2
    dsn = postgres.database()
    server = start(dsn, env={"AUDIT_KEEP_DAYS": "0"})
    db = psycopg2.connect(dsn)
    db.autocommit = True
    old = int((time.time() - 3 * 86400) * 1e6)
    for i in range(5):
        db.cursor().execute("insert into sl_audit (id, at, actor, role, tenant, method, route, target, status, request_id, trace_id,"
                            " address, times) values (%s, %s, 'u', 'r', 't', 'POST', '/x', '/x', 200, 'q', 't', 'a', 1)",
                            (f"01900000-0000-7000-8000-00000000000{i}", old))
    until(lambda: sealed(server)["seq"] == 5)
    for _ in range(3):
        server.account()
    head = sealed(server)
    assert head["base"] == 0, "0 keeps for ever"
    server.stop()
    server = start(dsn, env={"AUDIT_KEEP_DAYS": "2"})
    until(lambda: server.admin("GET", "/admin/audit/head").json()["base"] == 5, 60)
    assert len(records(server, role="r")) == 0 and len(records(server, status=201)) == 3
    text = server.admin("GET", "/admin/audit/export").text
    code, said = verify("-", text=text)
    assert code == 0 and "records, 6 to " in said and head["hash"] in text
    db.close()


def test_a_store_in_memory_keeps_the_newest_records_only(start, tmp_path):
    """It grew by some 420 bytes with every change, for as long as the process lived."""
    server = start("", env={"LOG_LEVEL": "warn", "LIMITS_ADDRESS": "0"})
    script = tmp_path / "post.lua"
    script.write_text(f'wrk.method, wrk.body = "POST", \'{{"owner": "x"}}\'\n'
                      f'wrk.headers["Authorization"], wrk.headers["Content-Type"] = "Bearer {TOKEN}", "application/json"\n')

    def head():
        return server.admin("GET", "/admin/audit/head").json()

    for _ in range(30):
        subprocess.run(["wrk", "-t1", "-c16", "-d1s", "-s", script, server.url + "/accounts"], check=True, stdout=subprocess.DEVNULL, timeout=60)
        if head()["seq"] > 12000:
            break
    assert head()["seq"] > 12000
    until(lambda: head()["seq"] - head()["base"] == 10000, 30)
    code, said = verify("-", text=server.admin("GET", "/admin/audit/export").text)
    assert code == 0 and "10000 records" in said, said
