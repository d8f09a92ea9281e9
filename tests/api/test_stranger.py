"""test_stranger.py - walks the whole route table as callers who have no right to a tenant's things: nothing is told, nothing changes.

The table is the server's own (/openapi.json), so the routes of a new plugin are walked as well. Objects are made from the
examples in it; where an example is no good, MAKE says what to send.
"""
import json
import re
import uuid
import pytest

MARK = "walk-of-a-stranger"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
MODULES = {"accounts", "secrets", "oracle", "random"}  # of these the walk must have objects to knock at
MAKE = {
    "/accounts": lambda w: {"owner": w.mark},
    "/accounts/{account}/secrets": lambda w: {"name": w.mark, "value": w.mark + " value", "acl": ["oracle"]},
    "/accounts/{account}/oracle/sources": lambda w: {"name": w.mark, "url": w.source.url + "/walk", "headers": {"X-Mark": w.mark}},
    "/accounts/{account}/oracle/requests": lambda w: {"source_id": w.ids["/accounts/{account}/oracle/sources/{source}"]},
    "/accounts/{account}/random": lambda w: {"length": 16, "request_id": w.mark},
}
TIMES = re.compile(r'"(trace_id|request_id|instance)": ?"[^"]*"')


class Walk:
    """One tenant's world on a server, and the callers who come to it."""

    def __init__(self, server, source):
        self.server, self.source = server, source
        self.source.answer("/walk", body=json.dumps({"answer": MARK}))
        run = uuid.uuid4().hex[:8]
        self.a, self.b = f"tenant-a-{run}", f"tenant-b-{run}"
        self.owner = self.token("service", self.a)
        self.stranger = self.token("service", self.b)
        self.reader = self.token("reader", self.a)
        self.narrow = self.token("service", self.a, ["nothing:read"])
        document = server.get("/openapi.json", token=None).json()
        self.paths = {path: {m.upper(): o for m, o in item.items() if m.upper() in METHODS}
                      for path, item in document["paths"].items()}
        self.ids = {}
        self.made = set()
        self.mark = MARK
        self.make()
        self.mark = "knocking"  # what strangers send themselves may come back to them

    def token(self, role, tenant, scopes=None):
        body = {"name": f"{role} of {tenant}", "role": role, "tenants": [tenant]} | ({"scopes": scopes} if scopes else {})
        answer = self.server.admin("POST", "/admin/tokens", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()["token"]

    def example(self, operation):
        return operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example", {})

    def fill(self, path, ids):
        """The path with each parameter's value: of the object that was made there, else of one made under that name."""
        def value(match):
            prefix, name = path[:match.end()], match.group(1)
            by_name = [v for k, v in ids.items() if k.endswith("{" + name + "}")]
            return ids.get(prefix) or (by_name + ["1"])[0]
        return re.sub(r"{(\w+)}", value, path)

    def make(self):
        """An object on every collection: a POST whose path is that of a list's items without the last parameter."""
        for path in sorted(self.paths, key=lambda p: (p.count("/"), list(MAKE).index(p) if p in MAKE else len(MAKE))):
            operation = self.paths[path].get("POST")
            items = [p for p in self.paths if re.fullmatch(re.escape(path) + r"/{\w+}", p)]
            if not operation or not items or path.startswith("/admin"):
                continue
            body = MAKE[path](self) if path in MAKE else self.example(operation)
            answer = self.server.post(self.fill(path, self.ids), json=body, token=self.owner)
            if answer.status_code not in (200, 201, 202):
                assert path not in MAKE, f"POST {path}: {answer.text}"
                continue
            made = answer.json()
            name = re.search(r"{(\w+)}$", items[0]).group(1)
            self.ids[items[0]] = str(made.get(name) or made.get("id"))
            self.made.add(operation["x-sl-module"])
        assert MODULES & {o["x-sl-module"] for p in self.paths.values() for o in p.values()} <= self.made
        request = self.ids.get("/accounts/{account}/oracle/requests/{request}")
        if request:  # at rest, so that nothing changes but by the walk
            account = self.ids["/accounts/{account}"]
            self.server.until(f"/accounts/{account}/oracle/requests/{request}", token=self.owner,
                              done=lambda r: r["status"] not in ("pending", "running"))

    def routes(self):
        for path in sorted(self.paths):
            for method in METHODS:
                yield method, path, self.paths[path].get(method)

    def public(self, operation):
        return operation is not None and not operation["security"]

    def picture(self):
        """All that the owner can read of their accounts. Services that are not in MODULES may go on by themselves meanwhile."""
        seen = {}
        for method, path, operation in self.routes():
            if method == "GET" and operation and path.startswith("/accounts"):
                answer = self.server.get(self.fill(path, self.ids), token=self.owner)
                quiet = operation["x-sl-module"] in MODULES
                seen[path] = (answer.status_code, TIMES.sub("", answer.text) if quiet else "", quiet and answer.headers.get("ETag"))
        return seen

    def ask(self, method, path, operation, ids, token, **more):
        body = self.example(operation) if operation and "requestBody" in operation else None
        if body is not None and path in MAKE:
            body = MAKE[path](self)
        return self.server.request(method, self.fill(path, ids), token=token, json=body, **more)

    def tells_nothing(self, answer):
        """Nothing of the owner's is in it but what the caller sent."""
        sent = answer.request.url + (answer.request.body or b"").decode()
        for secret in [MARK, self.a, *self.ids.values()]:
            told = secret in answer.text and secret not in sent
            assert not told or len(secret) < 9, f"{answer.request.method} {answer.request.url}: {answer.text}"


def without(text, ids):
    for value in ids.values():
        text = text.replace(value, "ID")
    return TIMES.sub("", text)


@pytest.fixture
def walk(server, http_source):
    return Walk(server, http_source)


def test_a_stranger_finds_nothing_and_changes_nothing(walk):
    before = walk.picture()
    assert before["/accounts/{account}"][0] == 200 and MARK in before["/accounts"][1]
    nowhere = {k: str(uuid.uuid4()) if len(v) == 36 else "no-such-" + uuid.uuid4().hex[:8] for k, v in walk.ids.items()}
    own_account = walk.server.post("/accounts", json={"owner": "b"}, token=walk.stranger).json()["id"]
    mixed = walk.ids | {"/accounts/{account}": own_account}
    knocked = 0
    for method, path, operation in walk.routes():
        what = f"{method} {path}"
        there = walk.ask(method, path, operation, walk.ids, walk.stranger)
        assert there.status_code < 500, f"{what}: {there.text}"
        walk.tells_nothing(there)
        if "{account}" not in path:
            continue
        missing = walk.ask(method, path, operation, nowhere, walk.stranger)
        assert there.status_code not in range(200, 300), f"{what}: {there.text}"
        assert there.status_code == missing.status_code, f"{what}: {there.text} but {missing.text}"
        assert without(there.text, walk.ids) == without(missing.text, nowhere), what
        if operation and there.status_code != 422:
            assert there.status_code == 404, f"{what}: {there.text}"
            knocked += 1
        foreign = [k for k in walk.ids if k != "/accounts/{account}" and path.startswith(k)]
        if foreign or "source_id" in walk.example(operation or {}):  # own account, another's thing in it
            answer = walk.ask(method, path, operation, mixed, walk.stranger)
            assert answer.status_code not in range(200, 300) and answer.status_code < 500, f"{what}: {answer.text}"
            walk.tells_nothing(answer)
    assert knocked >= 20
    assert walk.picture() == before


def test_neither_another_tenants_header_nor_no_token_opens_a_door(walk):
    before = walk.picture()
    for method, path, operation in walk.routes():
        if operation is None or walk.public(operation) or path == "/metrics":
            continue
        header = walk.ask(method, path, operation, walk.ids, walk.stranger, tenant=walk.a)
        assert header.status_code == 403, f"{method} {path}: {header.text}"
        assert header.json()["code"] in ("tenant_forbidden", "forbidden"), header.text
        nobody = walk.ask(method, path, operation, walk.ids, None)
        assert nobody.status_code == 401 and nobody.json()["code"] == "unauthorized", f"{method} {path}: {nobody.text}"
        with_header = walk.ask(method, path, operation, walk.ids, None, tenant=walk.a)
        assert with_header.status_code == 401, f"{method} {path}: {with_header.text}"
    assert walk.picture() == before


def test_a_token_gets_no_further_than_its_scopes(walk):
    before = walk.picture()
    for method, path, operation in walk.routes():
        if operation is None or walk.public(operation) or path == "/metrics":
            continue
        scope = operation["security"][0]["bearer"][0]
        if scope == "self":
            continue
        refused = walk.ask(method, path, operation, walk.ids, walk.narrow)
        assert refused.status_code == 403 and f"`{scope}`" in refused.json()["detail"], f"{method} {path}: {refused.text}"
        if not scope.endswith(":read") or scope.startswith("admin"):
            refused = walk.ask(method, path, operation, walk.ids, walk.reader)
            assert refused.status_code == 403, f"{method} {path}: {refused.text}"
    assert walk.picture() == before
