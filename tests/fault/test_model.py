"""test_model.py - random operations and crashes against a small reference model of store and jobs: same seed, same trace (SEED=n replays one)."""
import hashlib
import os
import random
import threading
import time
import pytest
import requests
from server import Server, free_port

SEEDS = [int(os.environ["SEED"])] if "SEED" in os.environ else [1, 2]
STEPS = int(os.environ.get("STEPS", "220"))
ENDED = ("succeeded", "failed", "expired", "cancelled", "dead_letter")


class Model:
    """What must be true by the answers so far. Things are known by number, so that a trace holds no ids."""

    def __init__(self):
        self.accounts = {}  # number -> {"id", "owner", "secrets": {name: value}, "sources": [ids], "requests": [ids]}
        self.deleted = []   # ids
        self.trace = []
        self.next = 0

    def note(self, *what):
        self.trace.append(" ".join(str(w) for w in what))

    def digest(self):
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()[:16]


class Run:
    def __init__(self, seed, dsn, source_url):
        self.rng, self.model, self.url = random.Random(seed), Model(), source_url
        self.server = Server(dsn, env={"LOG_LEVEL": "error", "ORACLE_BACKOFF": "1s", "ORACLE_MAX_ATTEMPTS": "20", "JOBS_LEASE": "1s"}, port=free_port())

    def expect(self, answer, *statuses):
        assert answer.status_code in statuses, (self.model.trace[-5:], answer.status_code, answer.text)
        return answer

    def pick(self):
        return self.rng.choice(sorted(self.model.accounts)) if self.model.accounts else None

    # ---- operations; each draws its numbers first, so that the trace depends on the seed alone ----
    def create_account(self):
        n, owner = self.model.next, f"owner{self.rng.randrange(1000)}"
        self.model.next += 1
        made = self.expect(self.server.post("/accounts", json={"owner": owner}), 201).json()
        self.model.accounts[n] = {"id": made["id"], "owner": owner, "secrets": {}, "sources": [], "requests": []}
        self.model.note("create account", n, owner)

    def delete_account(self):
        n = self.pick()
        if n is None or len(self.model.accounts) < 3:
            return self.create_account()
        a = self.model.accounts.pop(n)
        self.expect(self.server.delete(f"/accounts/{a['id']}"), 204)
        self.model.deleted.append(a["id"])
        self.model.note("delete account", n)

    def put_secret(self):
        n, name, value = self.pick(), f"s{self.rng.randrange(4)}", f"value{self.rng.randrange(10 ** 6)}"
        if n is None:
            return self.create_account()
        a = self.model.accounts[n]
        at = f"/accounts/{a['id']}/secrets"
        if name in a["secrets"]:
            self.expect(self.server.put(f"{at}/{name}", json={"value": value}), 200)
        else:
            self.expect(self.server.post(at, json={"name": name, "value": value}), 201)
        a["secrets"][name] = value
        self.model.note("put secret", n, name, value)

    def delete_secret(self):
        n = self.pick()
        a = self.model.accounts.get(n)
        if not a or not a["secrets"]:
            return self.put_secret()
        name = self.rng.choice(sorted(a["secrets"]))
        self.expect(self.server.delete(f"/accounts/{a['id']}/secrets/{name}?permanent=true"), 204)
        del a["secrets"][name]
        self.model.note("delete secret", n, name)

    def ask_oracle(self):
        n = self.pick()
        if n is None:
            return self.create_account()
        a = self.model.accounts[n]
        if not a["sources"]:
            made = self.expect(self.server.post(f"/accounts/{a['id']}/oracle/sources", json={"name": "s", "url": self.url}), 201)
            a["sources"].append(made.json()["id"])
        made = self.expect(self.server.post(f"/accounts/{a['id']}/oracle/requests", json={"source_id": a["sources"][0]}), 201)
        a["requests"].append(made.json()["id"])
        self.model.note("ask oracle", n, len(a["requests"]))

    def crash(self):
        self.server.kill()
        self.server.session.close()
        self.server.session = requests.Session()
        self.server.start()
        self.model.note("crash")

    def crash_during_a_write(self):
        """Killed while a create is under way: it is there whole, or not at all. The trace does not depend on which."""
        owner, pause = f"crash{self.rng.randrange(10 ** 9)}", self.rng.uniform(0, 0.004)
        result = []

        def go():
            try:
                result.append(requests.post(self.server.url + "/accounts", json={"owner": owner}, timeout=10,
                                            headers={"Authorization": "Bearer test-token"}))
            except requests.RequestException:
                pass

        writer = threading.Thread(target=go)
        writer.start()
        time.sleep(pause)
        self.server.kill()
        writer.join()
        self.server.session = requests.Session()
        self.server.start()
        found = [i for i in self.every_account() if i["owner"] == owner]
        acknowledged = [a.json()["id"] for a in result if a.status_code == 201]
        assert len(found) <= 1 and (not acknowledged or [i["id"] for i in found] == acknowledged), (found, acknowledged)
        for i in found:
            self.expect(self.server.delete(f"/accounts/{i['id']}"), 204)
            self.model.deleted.append(i["id"])
        self.model.note("crash during a write")

    # ---- the comparison ----
    def every_account(self):
        found, path = [], "/accounts?limit=7"
        while path:
            answer = self.expect(self.server.get(path), 200)
            found += answer.json()["items"]
            path = answer.links["next"]["url"] if "next" in answer.links else None
        return found

    def compare(self):
        found = {i["id"]: i["owner"] for i in self.every_account()}
        assert found == {a["id"]: a["owner"] for a in self.model.accounts.values()}
        for a in self.model.accounts.values():
            at = f"/accounts/{a['id']}"
            listed = self.expect(self.server.get(at + "/secrets?limit=500"), 200).json()["items"]
            assert sorted(s["name"] for s in listed) == sorted(a["secrets"])
            for name, value in a["secrets"].items():
                assert self.expect(self.server.get(f"{at}/secrets/{name}/value"), 200).json()["value"] == value
            requests_found = self.expect(self.server.get(at + "/oracle/requests?limit=500"), 200).json()["items"]
            assert sorted(r["id"] for r in requests_found) == sorted(a["requests"])
        for i in self.model.deleted[-20:]:
            self.expect(self.server.get(f"/accounts/{i}"), 404)
        self.model.note("compare", len(found))

    def drained(self):
        """Every request that was accepted ends well, whatever crashed meanwhile."""
        for a in self.model.accounts.values():
            for r in a["requests"]:
                body = self.server.until(f"/accounts/{a['id']}/oracle/requests/{r}", lambda b: b["status"] in ENDED, 60)
                assert body["status"] == "succeeded", body

    def go(self, steps):
        operations = [(self.create_account, 20), (self.delete_account, 6), (self.put_secret, 30), (self.delete_secret, 10), (self.ask_oracle, 20),
                      (self.compare, 6), (self.crash, 3), (self.crash_during_a_write, 3)]
        try:
            for _ in range(steps):
                self.rng.choices([o for o, _ in operations], [w for _, w in operations])[0]()
            self.crash()
            self.compare()
            self.drained()
            self.server.stop()
        finally:
            self.server.kill()
        return self.model


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("store_kind", ["sqlite", "postgres"])
def test_random_operations_and_crashes_agree_with_the_model(seed, store_kind, request, tmp_path, http_source):
    http_source.answer("/model", body='{"ok":1}')
    dsn = request.getfixturevalue("postgres").database() if store_kind == "postgres" else f"sqlite:{tmp_path}/model.db"
    model = Run(seed, dsn, http_source.url + "/model").go(STEPS)
    print(f"seed {seed} on {store_kind}: {len(model.trace)} steps, {sum('crash' in t for t in model.trace)} crashes, trace {model.digest()}")


def test_same_seed_gives_the_same_trace(tmp_path, http_source):
    http_source.answer("/model", body='{"ok":1}')
    first, second = (Run(7, f"sqlite:{tmp_path}/{i}.db", http_source.url + "/model").go(60) for i in range(2))
    assert first.trace == second.trace and first.digest() == second.digest()
