"""test_limits.py - rates by token, address and tenant, calls at once, the day's quota, and what is told of them."""
import re
import socket
import time
import pytest
from server import BUILD, ROOT, TOKEN, until

PROBE = f"""
modules:
  dirs: ["{BUILD}/test-plugins"]
  migration_dirs: ["{ROOT}/migrations", "{ROOT}/tests/contract/plugins/migrations"]
plugins:
  probe:
    isolation: none
    config: {{greeting: "good day"}}
"""


def items(header):
    """'"token";q=5;w=5' as {"token": {"q": 5, "w": 5}}"""
    found = {}
    for part in header.split(", "):
        name, *params = part.split(";")
        found[name.strip('"')] = {p.split("=")[0]: int(p.split("=")[1]) for p in params}
    return found


def test_token_is_slowed_down_and_told_when_to_come_back(start):
    s = start(env={"LIMITS_TOKEN": "1/m burst 5"})
    for left in (4, 3, 2, 1, 0):
        answer = s.get("/accounts")
        assert answer.status_code == 200
        assert items(answer.headers["RateLimit-Policy"]) == {"token": {"q": 5, "w": 300}}
        assert items(answer.headers["RateLimit"])["token"]["r"] == left
    refused = s.get("/accounts")
    assert refused.status_code == 429 and refused.json()["code"] == "rate_limited"
    assert "token" in refused.json()["detail"] and "5 requests at once" in refused.json()["detail"]
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert items(refused.headers["RateLimit"])["token"]["r"] == 0
    assert s.admin("GET", "/system/status").status_code == 200, "another token has a rate of its own"
    assert s.get("/readyz", token=None).status_code == 200, "health is not counted"
    assert re.search(r'^http_limited_total\{limit="token"\} 1$', s.get("/metrics", token=None).text, re.M)


def test_rate_comes_back(start):
    s = start(env={"LIMITS_TOKEN": "5/s burst 1"})
    assert s.get("/accounts").status_code == 200
    until(lambda: s.get("/accounts").status_code == 200, seconds=10)


def test_address_without_a_valid_token_is_slowed_down(start):
    """Guessing tokens ends in 429; whoever has a good one is not disturbed by it."""
    s = start(env={"LIMITS_ADDRESS": "1/m burst 6"})
    statuses = [s.get("/accounts", token=f"guess-{i}").status_code for i in range(5)] + [s.get("/accounts", token=None).status_code]
    assert statuses == [401] * 6
    refused = s.get("/accounts", token="guess")
    assert refused.status_code == 429 and "address" in refused.json()["detail"] and "WWW-Authenticate" not in refused.headers
    assert s.get("/accounts").status_code == 200 and "RateLimit" not in s.get("/accounts").headers
    assert s.get("/livez", token=None).status_code == 200


def test_tenants_have_rates_of_their_own(start):
    s = start(env={"LIMITS_TENANT": "1/m burst 2", "LIMITS_TENANTS": "acme 1/m burst 3,free 0", "LIMITS_TOKEN": "1/m burst 100"})

    def come(tenant, n):
        return [s.get("/accounts", tenant=tenant).status_code for _ in range(n)]

    assert come("small", 3) == [200, 200, 429]
    assert come("acme", 4) == [200, 200, 200, 429]
    assert come("free", 6) == [200] * 6
    both = s.get("/accounts", tenant="other")
    assert set(items(both.headers["RateLimit-Policy"])) == {"token", "tenant"}
    limits = s.get("/system/limits", tenant="fresh").json()
    assert [r["limit"] for r in limits["rates"]] == ["token", "tenant"]
    assert limits["rates"][1] == {"limit": "tenant", "burst": 2, "per_second": 0.0166667, "remaining": 1, "reset_seconds": 60}
    before = limits["rates"][0]["remaining"]
    assert s.get("/accounts", tenant="small").status_code == 429
    assert s.get("/system/limits", tenant="more").json()["rates"][0]["remaining"] == before - 1, "a refusal costs nothing"


def test_calls_of_one_tenant_at_once(start):
    s = start(env={"LIMITS_TENANT_INFLIGHT": "1"}, config=PROBE)
    held = socket.create_connection(("127.0.0.1", s.port))
    held.sendall(f"GET /probe/hold-long HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nX-Tenant-ID: acme\r\n\r\n".encode())
    s.under_way(1)
    assert s.get("/readyz", tenant="acme").status_code == 200, "health is not counted"
    refused = s.get("/system/status", tenant="acme")
    assert refused.status_code == 429 and refused.json()["code"] == "tenant_busy" and refused.headers["Retry-After"]
    assert s.get("/system/status", tenant="other").status_code == 200
    held.close()
    until(lambda: s.get("/system/status", tenant="acme").status_code == 200, seconds=15)
    limits = s.get("/system/limits", tenant="acme").json()
    assert limits["requests_at_once"] == {"limit": 1, "now": 1}


def test_quota_of_the_day_holds_over_replicas_and_restarts(start, store, dsn):
    """Two servers on one database count together within seconds; a restart forgets nothing that was stored."""
    if store == "memory":
        pytest.skip("nothing outlives the process")
    if time.time() % 86400 > 86400 - 60:
        pytest.skip("the UTC day is about to end")
    env = {"LIMITS_TENANT_DAILY": "10"}
    one = start(dsn, env=env)
    assert [one.get("/accounts", tenant="acme").status_code for _ in range(8)] == [200] * 8
    one.stop()
    two = start(dsn, env=env)
    assert two.get("/accounts", tenant="acme").status_code == 200  # the 9th or, before the count is known, any
    end = time.monotonic() + 15
    while True:
        answer = two.get("/system/limits", tenant="acme")
        if answer.status_code == 429:
            break
        assert time.monotonic() < end
        time.sleep(0.3)
    assert answer.json()["code"] == "quota_exceeded" and 0 < int(answer.headers["Retry-After"]) <= 86400
    assert two.get("/accounts", tenant="other").status_code == 200


def test_limits_of_the_caller_are_shown(start):
    s = start()
    limits = s.get("/system/limits", tenant="acme").json()
    assert limits["tenant"] == "acme" and limits["actor"].startswith("token:") and limits["rates"] == []
    assert limits["requests_at_once"]["limit"] is None and limits["requests_of_the_day"]["limit"] is None
    assert limits["max_body_bytes"] == 1 << 20 and limits["page_max"] == 500 and limits["deadline_ms"] == 15000
    assert limits["server_requests_at_once"] == 4096


def test_full_line_at_the_store_is_refused_early(start, tmp_path):
    """While another process holds the database no new call joins the line beyond limits.waiting."""
    import sqlite3
    import threading
    s = start(f"sqlite:{tmp_path}/test.db", env={"LIMITS_WAITING": "3"})
    lock = sqlite3.connect(tmp_path / "test.db", isolation_level=None)
    lock.execute("begin immediate")
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(s.post("/accounts", json={"owner": "a"}).status_code)) for _ in range(5)]
    for t in threads:
        t.start()
    until(lambda: "db_calls_waiting 3" in s.get("/metrics", token=None).text or answers, seconds=15)
    refused = s.get("/system/limits")
    assert refused.status_code == 503 and refused.json()["code"] == "overloaded" and refused.headers["Retry-After"]
    assert s.get("/livez", token=None).status_code == 200
    lock.execute("rollback")
    lock.close()
    for t in threads:
        t.join()
    assert set(answers) <= {201, 503} and answers.count(201) >= 3
