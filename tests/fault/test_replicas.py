"""test_replicas.py - two replicas on one PostgreSQL: each job once, a killed replica's jobs move on, the database comes and goes."""
import threading
import time
import requests
from server import TOKEN


def make_requests(servers, account, source, n):
    """n oracle requests spread over the servers; returns their ids."""
    ids, lock, numbers = [], threading.Lock(), iter(range(n))

    def go(worker):
        session = requests.Session()
        while True:
            with lock:
                i = next(numbers, None)
            if i is None:
                return
            server = servers[i % len(servers)]
            answer = session.post(f"{server.url}/accounts/{account}/oracle/requests", timeout=20,
                                  json={"source_id": source, "payload": {"n": i}},
                                  headers={"Authorization": "Bearer " + TOKEN})
            assert answer.status_code == 201, answer.text
            with lock:
                ids.append(answer.json()["id"])

    threads = [threading.Thread(target=go, args=(w,)) for w in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    return ids


def wait_ended(server, account, ids, seconds):
    end, left, statuses = time.monotonic() + seconds, set(ids), {}
    while left and time.monotonic() < end:
        for r in list(left):
            body = server.get(f"/accounts/{account}/oracle/requests/{r}").json()
            if body["status"] not in ("pending", "running"):
                left.discard(r)
                statuses[body["status"]] = statuses.get(body["status"], 0) + 1
        time.sleep(0.1)
    assert not left, f"{len(left)} requests have not ended after {seconds} s"
    return statuses


def prepare(server, http_source, path):
    account = server.account()
    source = server.post(f"/accounts/{account}/oracle/sources", json={"name": "s", "url": http_source.url + path}).json()["id"]
    return account, source


def test_two_replicas_fetch_each_request_once(postgres, http_source, start):
    dsn = postgres.database()
    http_source.answer("/replicas/once", body='{"ok":1}')
    servers = [start(dsn, env={"LOG_LEVEL": "warn"}), start(dsn, env={"LOG_LEVEL": "warn"})]
    account, source = prepare(servers[0], http_source, "/replicas/once")
    ids = make_requests(servers, account, source, 1000)
    assert wait_ended(servers[1], account, ids, 60) == {"succeeded": 1000}
    targets = http_source.targets("/replicas/once")
    assert len(targets) == 1000 and len(set(targets)) == 1000, (len(targets), len(set(targets)))


def test_a_killed_replicas_requests_end_on_the_other(postgres, http_source, start):
    dsn = postgres.database()
    http_source.answer("/replicas/killed", body='{"ok":1}', delay=0.05)
    env = {"LOG_LEVEL": "warn", "ORACLE_MAX_ATTEMPTS": "5", "ORACLE_BACKOFF": "1s"}
    servers = [start(dsn, env=env), start(dsn, env=env)]
    account, source = prepare(servers[1], http_source, "/replicas/killed")
    ids = make_requests(servers, account, source, 300)
    servers[0].kill()
    killed = time.monotonic()
    statuses = wait_ended(servers[1], account, ids, 40)  # lease 6 s + deadline of the run + its back-off
    assert statuses == {"succeeded": 300}, statuses
    print(f"all ended {time.monotonic() - killed:.1f} s after the kill")


def test_the_database_stops_and_comes_back_under_load(postgres, start):
    server = start(postgres.database(), env={"LOG_LEVEL": "error"})
    assert server.account()
    stop, wrong, good, refused = threading.Event(), [], [], []

    def client():
        session = requests.Session()
        while not stop.is_set():
            began = time.monotonic()
            try:
                answer = session.post(server.url + "/accounts", json={"owner": "x"}, timeout=25,
                                      headers={"Authorization": "Bearer " + TOKEN})
            except requests.RequestException as e:
                wrong.append(repr(e))
                continue
            if answer.status_code == 201:
                good.append((time.monotonic(), answer.json()["id"]))
            elif answer.status_code == 503 and "Retry-After" in answer.headers:
                refused.append(time.monotonic() - began)
            else:
                wrong.append((answer.status_code, answer.text))

    threads = [threading.Thread(target=client) for _ in range(16)]
    [t.start() for t in threads]
    try:
        time.sleep(1)
        postgres.stop()
        time.sleep(3)
        assert server.get("/livez", token=None).status_code == 200
        assert server.get("/readyz", token=None).status_code == 503
        postgres.start()
        back = time.monotonic()
        time.sleep(6)
    finally:
        stop.set()
        [t.join(40) for t in threads]
    assert not wrong, wrong[:5]
    assert refused and max(refused) < 20
    after = [t for t, _ in good if t > back]
    assert after, "no write succeeded after the database was back"
    print(f"first write {min(after) - back:.2f} s after the database was back; {len(refused)} answers of 503")
    found = set()
    path = "/accounts?limit=500"
    while path:
        answer = server.get(path)
        found |= {i["id"] for i in answer.json()["items"]}
        path = answer.links["next"]["url"] if "next" in answer.links else None
    assert {i for _, i in good} <= found
