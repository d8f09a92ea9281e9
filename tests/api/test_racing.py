"""test_racing.py - 64 clients with one Idempotency-Key, on each store and over two replicas: one effect, one answer for all."""
import threading
import uuid
import requests
from server import TOKEN


def race(urls, path, body, key, n=64):
    """Every client sends the same request at once; their answers."""
    answers, gate = [None] * n, threading.Barrier(n)

    def client(i):
        with requests.Session() as session:
            url = urls[i % len(urls)]
            session.get(url + "/livez", timeout=30)  # connected, so that all start at once
            gate.wait(30)
            answers[i] = session.post(url + path, json=body, timeout=60,
                                      headers={"Authorization": "Bearer " + TOKEN, "Idempotency-Key": key})

    threads = [threading.Thread(target=client, args=(i,)) for i in range(n)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    return answers


def check(server, urls):
    for round_ in range(3):
        key, owner = uuid.uuid4().hex, "racer" + uuid.uuid4().hex[:8]
        answers = race(urls, "/accounts", {"owner": owner}, key)
        assert {a.status_code for a in answers} == {201}, [a.text for a in answers if a.status_code != 201][:3]
        assert len({(a.text, a.headers.get("ETag"), a.headers.get("Location")) for a in answers}) == 1, "one answer for all"
        assert sum("Idempotency-Hit" not in a.headers for a in answers) == 1, "one of them made it"
        found = [i for i in server.get("/accounts?limit=500").json()["items"] if i["owner"] == owner]
        assert len(found) == 1, "one effect"
        other = server.post("/accounts", json={"owner": owner + "x"}, headers={"Idempotency-Key": key})
        assert other.status_code == 422 and other.json()["code"] == "idempotency_key_reused"


def test_64_clients_with_one_key_have_one_effect(server):
    check(server, [server.url])


def test_64_clients_with_one_key_on_two_replicas_have_one_effect(postgres, start):
    dsn = postgres.database()
    servers = [start(dsn, env={"LOG_LEVEL": "warn"}) for _ in range(2)]
    check(servers[0], [s.url for s in servers])
