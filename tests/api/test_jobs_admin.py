"""test_jobs_admin.py - the operator's view of jobs: list, history, retry and drop dead letters, numbers, the outbox."""
import sqlite3
import time
import uuid
import pytest
from server import BUILD, ROOT, until
from test_http import problem

KIND = "nobody.runs"


def id7(n):
    return f"01900000-0000-7000-8000-{n:012d}"


class Store:
    """Rows that only a failing plugin would leave, written beside the server."""

    def __init__(self, dsn):
        if dsn.startswith("sqlite:"):
            self.connection, self.mark = sqlite3.connect(dsn[7:], timeout=10, isolation_level=None), "?"
        else:
            import psycopg2
            self.connection, self.mark = psycopg2.connect(dsn), "%s"
            self.connection.autocommit = True

    def do(self, sql, *args):
        cursor = self.connection.cursor()
        cursor.execute(sql.replace("?", self.mark), args)
        return cursor

    def job(self, n, state="dead", key=None, kind=KIND, attempts=3):
        self.do("insert into sl_jobs (id, kind, key, tenant, json, state, run_at, attempts, max_attempts, owner, last_error, "
                "created_at, updated_at) values (?, ?, ?, 't', '{\"a\":[1,\"x\"]}', ?, 1700000000000000, ?, 3, 'r', 'it broke', "
                "1700000000000000, 1700000000000000)", id7(n), kind, key, state, attempts)
        return id7(n)

    def run(self, job, attempt, outcome, kind=KIND):
        self.do("insert into sl_job_runs (job_id, kind, attempt, started_at, finished_at, outcome, error, replica) values "
                "(?, ?, ?, 1700000000000000, 1700000001000000, ?, ?, 'r')", job, kind, attempt, outcome,
                None if outcome == "succeeded" else "it broke")


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def both(request, tmp_path_factory):
    from server import Server
    dsn = f"sqlite:{tmp_path_factory.mktemp('db')}/test.db"
    if request.param == "postgres":
        dsn = request.getfixturevalue("postgres").database()
    server = Server(dsn)
    yield server, Store(dsn)
    server.stop()


def test_jobs_are_listed_by_state_and_kind_with_a_cursor(both):
    server, store = both
    kind = "list." + uuid.uuid4().hex[:8]
    ids = [store.job(100 + n, kind=kind) for n in range(5)] + [store.job(200, "waiting", kind=kind, attempts=0)]
    page = server.admin("GET", f"/admin/jobs?kind={kind}&limit=4").json()
    rest = server.admin("GET", f"/admin/jobs?kind={kind}&limit=4&cursor={page['next_cursor']}").json()
    assert [j["id"] for j in page["items"] + rest["items"]] == sorted(ids, reverse=True) and rest["next_cursor"] is None
    dead = server.admin("GET", f"/admin/jobs?kind={kind}&state=dead").json()["items"]
    assert len(dead) == 5 and {j["state"] for j in dead} == {"dead"}
    assert dead[0] == {
        "id": ids[4], "kind": kind, "key": None, "tenant": "t", "topic": None, "state": "dead", "attempts": 3, "max_attempts": 3,
        "run_at": "2023-11-14T22:13:20.000000Z", "lease_until": None, "replica": "r", "last_error": "it broke", "trace_id": None,
        "payload": {"a": [1, "x"]}, "created_at": "2023-11-14T22:13:20.000000Z", "updated_at": "2023-11-14T22:13:20.000000Z"}
    assert len(server.admin("GET", f"/admin/jobs?kind={kind}&state=waiting").json()["items"]) == 1
    problem(server.admin("GET", "/admin/jobs?state=finished"), 422)
    problem(server.get("/admin/jobs"), 403)


def test_a_job_shows_its_history_also_when_it_is_done(both):
    server, store = both
    job = store.job(300)
    for attempt, outcome in ((1, "failed"), (2, "lost"), (3, "dead")):
        store.run(job, attempt, outcome)
    body = server.admin("GET", "/admin/jobs/" + job).json()
    assert [(h["attempt"], h["outcome"], h["error"]) for h in body["history"]] == [
        (1, "failed", "it broke"), (2, "lost", "it broke"), (3, "dead", "it broke")]
    assert body["history"][0]["started_at"] == "2023-11-14T22:13:20.000000Z"
    done = id7(301)
    store.run(done, 1, "succeeded")
    body = server.admin("GET", "/admin/jobs/" + done).json()
    assert (body["state"], body["attempts"], len(body["history"])) == ("finished", 1, 1)
    problem(server.admin("GET", "/admin/jobs/" + id7(999)), 404, "job_not_found")


def test_a_dead_letter_runs_again_and_keeps_its_history(both):
    server, store = both
    job = store.job(400, key="again")
    store.run(job, 3, "dead")
    answer = server.admin("POST", f"/admin/jobs/{job}/retry")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["state"], body["attempts"]) == ("waiting", 3) and body["max_attempts"] > 3
    assert len(server.admin("GET", "/admin/jobs/" + job).json()["history"]) == 1
    problem(server.admin("POST", f"/admin/jobs/{job}/retry"), 409, "job_not_dead")
    second = store.job(401, key="again")
    problem(server.admin("POST", f"/admin/jobs/{second}/retry"), 409, "job_key_taken")
    problem(server.admin("POST", f"/admin/jobs/{id7(999)}/retry"), 404)


def test_all_dead_letters_of_a_kind_run_again_where_their_keys_are_free(both):
    server, store = both
    kind = "bulk." + uuid.uuid4().hex[:8]
    for n, key in enumerate([None, None, "a", "a", "b"]):
        store.job(500 + n, key=key, kind=kind)
    store.job(510, "waiting", key="b", kind=kind)
    store.job(511, key=None, kind=kind + ".other")
    answer = server.admin("POST", "/admin/jobs/retry", json={"kind": kind})
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"retried": 3, "kept": 2}
    assert len(server.admin("GET", f"/admin/jobs?kind={kind}&state=waiting").json()["items"]) == 4
    assert len(server.admin("GET", f"/admin/jobs?kind={kind}.other&state=dead").json()["items"]) == 1
    problem(server.admin("POST", "/admin/jobs/retry", json={}), 422)


def test_a_job_can_be_dropped(both):
    server, store = both
    job = store.job(600)
    assert server.admin("DELETE", "/admin/jobs/" + job).status_code == 204
    problem(server.admin("DELETE", "/admin/jobs/" + job), 404, "job_not_found")
    problem(server.delete("/admin/jobs/" + job), 403)


def test_numbers_and_kinds(both):
    server, _ = both
    body = server.admin("GET", "/admin/jobs/stats").json()
    assert set(body) == {"running", "waiting", "dead", "oldest_due_ms", "started", "succeeded", "failed", "dead_here", "reclaimed",
                         "kinds"}
    for kind in body["kinds"]:
        assert set(kind) == {"kind", "module", "schedule", "next_tick", "claimed", "succeeded", "failed", "dead"}
    text = server.get("/metrics", token=None).text
    for name in ("jobs_running", "jobs_waiting", "jobs_dead", "jobs_oldest_due_seconds", "jobs_reclaimed_total"):
        assert "\n" + name + " " in text, name


def test_server_without_job_concurrency_runs_none(start, tmp_path):
    """jobs.concurrency: 0 once meant 64."""
    config = (f'modules:\n  dirs: ["{BUILD}/test-plugins"]\n  migration_dirs: ["{ROOT}/migrations", "{ROOT}/tests/contract/plugins/migrations"]\n'
              "plugins:\n  bench: {enabled: true, isolation: none}\njobs: {poll_interval: 50ms}\n")
    s = start(f"sqlite:{tmp_path}/jobs.db", config=config, env={"JOBS_CONCURRENCY": "0"})
    assert s.post("/bench/jobs", json={"count": 5}).status_code == 202
    time.sleep(0.5)
    assert len(s.admin("GET", "/admin/jobs?kind=bench.nothing&state=waiting").json()["items"]) == 5
    s.stop()
    s = start(f"sqlite:{tmp_path}/jobs.db", config=config)
    until(lambda: not s.admin("GET", "/admin/jobs?kind=bench.nothing").json()["items"], seconds=15)


def test_a_published_event_stands_in_the_outbox(both):
    server, _ = both
    account = server.account()
    assert server.delete("/accounts/" + account).status_code == 204
    events = until(lambda: server.admin("GET", "/admin/events?topic=account.deleted").json()["items"])
    assert events[0]["source"] == "accounts" and events[0]["topic"] == "account.deleted" and events[0]["seq"] > 0
    assert account in str(events[0])
    assert any(e["id"] == events[0]["id"] for e in server.admin("GET", "/admin/events").json()["items"])
    assert server.admin("GET", "/admin/events?topic=no.such").json()["items"] == []
