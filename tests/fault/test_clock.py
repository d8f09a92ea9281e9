"""test_clock.py - the machine's wall clock jumps while requests and jobs run: deadlines and jobs do not follow it."""
import time
import pytest
from faults import Faults
from test_crash import every_account


@pytest.fixture(params=["sqlite", "postgres"])
def dsn(request, tmp_path):
    return request.getfixturevalue("postgres").database() if request.param == "postgres" else f"sqlite:{tmp_path}/clock.db"


def test_clock_that_jumps_stops_nothing(dsn, tmp_path, start, http_source):
    """By an hour, a day, and back by two days: every request is answered in time, every job made after a jump runs, ids stay unlike."""
    faults = Faults(tmp_path)
    server = start(dsn, env={"LOG_LEVEL": "warn", **faults.env})
    http_source.answer("/clock", body='{"ok":1}')
    account = server.account()
    source = server.post(f"/accounts/{account}/oracle/sources", json={"name": "s", "url": http_source.url + "/clock"}).json()["id"]
    slowest, made = 0.0, {account}
    for jump in (0, 3600, -3600, 86400, -2 * 86400, 5, 0):
        faults.clock(jump)
        began = time.monotonic()
        for _ in range(20):
            made.add(server.account())
        ids = [server.post(f"/accounts/{account}/oracle/requests", json={"source_id": source}).json()["id"] for _ in range(5)]
        for r in ids:
            body = server.until(f"/accounts/{account}/oracle/requests/{r}", lambda b: b["status"] not in ("pending", "running"), 30)
            assert body["status"] == "succeeded", body
        slowest = max(slowest, time.monotonic() - began)
        assert server.get("/readyz", token=None).status_code == 200
    assert set(every_account(server)) == made and len(made) == 141
    print(f"slowest round of 20 writes and 5 oracle requests: {slowest:.2f} s")
