"""test_crash.py - kill -9 under load: every acknowledged write is there, no job is lost, no oracle result comes twice."""
import random
import threading
import time
import uuid
import pytest
import requests
from server import TOKEN, Server, free_port

SEED = 20261121
WRITERS, ROUNDS = 64, 20


@pytest.fixture(params=["sqlite", "postgres"])
def durable(request, tmp_path):
    if request.param == "postgres":
        return request.getfixturevalue("postgres").database()
    return f"sqlite:{tmp_path}/crash.db"


class Writers:
    """64 clients that create accounts as fast as they can and remember what was acknowledged."""

    def __init__(self, server):
        self.server, self.stop, self.acknowledged, self.lock = server, False, {}, threading.Lock()
        self.threads = [threading.Thread(target=self.write, daemon=True) for _ in range(WRITERS)]
        [t.start() for t in self.threads]

    def write(self):
        session = requests.Session()
        headers = {"Authorization": "Bearer " + TOKEN}
        while not self.stop:
            owner = uuid.uuid4().hex
            try:
                answer = session.post(self.server.url + "/accounts", json={"owner": owner}, headers=headers, timeout=10)
                if answer.status_code == 201:
                    with self.lock:
                        self.acknowledged[answer.json()["id"]] = owner
                else:
                    time.sleep(0.02)
            except requests.RequestException:
                session.close()
                session = requests.Session()
                time.sleep(0.02)

    def end(self):
        self.stop = True
        [t.join(20) for t in self.threads]


def every_account(server):
    found, path = {}, "/accounts?limit=500"
    while path:
        answer = server.get(path)
        assert answer.status_code == 200, answer.text
        for item in answer.json()["items"]:
            found[item["id"]] = item["owner"]
        path = answer.links["next"]["url"] if "next" in answer.links else None
    return found


def test_kill_9_loses_nothing_that_was_acknowledged(durable, http_source):
    rng = random.Random(SEED)
    http_source.answer("/crash", body='{"ok":true}')
    server = Server(durable, env={"LOG_LEVEL": "warn", "ORACLE_BACKOFF": "1s", "ORACLE_MAX_ATTEMPTS": "50"}, port=free_port())
    account = server.account()
    source = server.post(f"/accounts/{account}/oracle/sources", json={"name": "s", "url": http_source.url + "/crash"}).json()["id"]
    writers, requested = Writers(server), []
    for _ in range(ROUNDS):
        end = time.monotonic() + rng.uniform(0.3, 0.9)
        while time.monotonic() < end:
            answer = server.post(f"/accounts/{account}/oracle/requests", json={"source_id": source})
            if answer.status_code == 201:
                requested.append(answer.json()["id"])
            time.sleep(rng.uniform(0, 0.02))
        server.kill()
        server.session.close()
        server.start()
    writers.end()
    found = every_account(server)
    lost = [i for i, owner in writers.acknowledged.items() if found.get(i) != owner]
    assert len(writers.acknowledged) > 500, "the writers hardly wrote"
    assert not lost, f"{len(lost)} of {len(writers.acknowledged)} acknowledged writes are gone"
    assert len(requested) > 20
    ended = {}
    for r in requested:
        body = server.until(f"/accounts/{account}/oracle/requests/{r}", lambda b: b["status"] not in ("pending", "running"), 60)
        ended[body["status"]] = ended.get(body["status"], 0) + 1
    assert ended == {"succeeded": len(requested)}, ended
    text = server.get("/metrics", token=None).text
    print(f"{len(writers.acknowledged)} writes and {len(requested)} requests over {ROUNDS} kills")
    assert "jobs_dead 0" in text or "jobs_dead" not in text
    server.stop()
