"""test_parity.py - the same answers, byte for byte, whether a plugin runs in the server or in a child process of its own."""
import re
import time
import pytest
from server import ADMIN, BUILD, TEST_MODULES, Server

CONFIG = f"""{TEST_MODULES}
  isolation: %s
plugins:
  probe: {{config: {{greeting: hello}}}}
"""
FIRST_PARTY = ("accounts", "secrets", "oracle", "random")
UNKNOWN = "01940000-0000-7000-8000-000000000000"
ENDED = ("succeeded", "failed", "expired", "cancelled", "dead_letter")
# What may differ from one server to the next by its nature: ids, moments, durations, what is drawn or signed at random.
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
VARIES = [(re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "TIME"),
          (re.compile(r'("trace_id": ?")[0-9a-f]{32}"'), r'\1TRACE"'),
          (re.compile(r'("(?:ms|elapsed_ms)": ?)\d+'), r"\1N"),
          (re.compile(r'("created_at_ns": ?")\d+"'), r'\1NS"'),
          (re.compile(r'("next_cursor": ?")[^"]+"'), r'\1CURSOR"'),
          (re.compile(r"(cursor=)[^&>]+"), r"\1CURSOR")]
DRAWN = re.compile(r'"(value|signature)": ?"([A-Za-z0-9+/]+=*)"')
HEADERS = ("Content-Type", "ETag", "Location", "Link", "Allow", "WWW-Authenticate", "Idempotency-Hit", "Cache-Control", "Retry-After")


class Pair:
    """Two servers, the plugins of one in child processes. Whatever is asked of one is asked of the other, and compared."""

    def __init__(self, tmp_path, **env):
        env = {"ORACLE_BACKOFF": "100ms", "ORACLE_MAX_ATTEMPTS": "2", "RANDOM_SIGNING_KEY": "11" * 32, "MODULES_ISOLATION": None, **env}
        self.servers = [Server(f"sqlite:{tmp_path}/{m}.db", env=env, config=CONFIG % m) for m in ("none", "process")]
        self.names = [{}, {}]  # what was kept of earlier answers
        self.ids = [{}, {}]    # id -> its number, in order of appearance
        self.asked, self.compared, self.stories = set(), 0, 0

    def stop(self):
        for s in self.servers:
            s.stop()

    def plain(self, i, text, drawn):
        for pattern, instead in VARIES:
            text = pattern.sub(instead, text)
        if drawn:
            text = DRAWN.sub(lambda m: f'"{m[1]}":"{len(m[2])} characters"', text)
        return ID.sub(lambda m: f"id-{self.ids[i].setdefault(m[0], len(self.ids[i]))}", text)

    def picture(self, i, answer, drawn):
        head = "".join(f"{h}: {answer.headers[h]}\n" for h in HEADERS if h in answer.headers)
        return self.plain(i, f"{answer.status_code}\n{head}\n{answer.text}", drawn)

    def send(self, i, method, path, body, headers, token, tenant):
        fill = lambda x: (re.sub(r"\{(\w+)\}", lambda m: str(self.names[i].get(m[1], m[0])), x) if isinstance(x, str)
                          else {k: fill(v) for k, v in x.items()} if isinstance(x, dict)
                          else [fill(v) for v in x] if isinstance(x, list) else x)
        more = {} if token is None else {"token": token}
        if isinstance(body, bytes):
            return self.servers[i].request(method, fill(path), data=body, headers={"Content-Type": "application/json"} | (headers or {}), **more)
        return self.servers[i].request(method, fill(path), json=fill(body), headers=fill(headers or {}), tenant=tenant, **more)

    def both(self, request, body=None, status=None, keep=None, until=None, drawn=False, headers=None, token=None, tenant=None):
        """The second server's answer, equal to the first's. keep: names for fields of it, {name} in what is sent later; until: asked again
        until that is true of its body."""
        method, path = request.split(" ", 1)
        pictures = []
        for i in range(2):
            end = time.monotonic() + 20
            answer = self.send(i, method, path, body, headers, token, tenant)
            while until and not until(answer.json()):
                assert time.monotonic() < end, answer.text
                time.sleep(0.02)
                answer = self.send(i, method, path, body, headers, token, tenant)
            if status:
                assert answer.status_code == status, answer.text
            for name, field in (keep or {}).items():
                value = answer.json()
                for part in field.split("."):
                    value = value[int(part) if part.isdigit() else part]
                self.names[i][name] = value
            pictures.append(self.picture(i, answer, drawn))
        assert pictures[0] == pictures[1], f"{request}: differs in a child process"
        self.asked.add(method + " " + re.sub(r"\?.*", "", path))
        self.compared += 1
        return answer


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    p = Pair(tmp_path_factory.mktemp("parity"))
    yield p
    p.stop()


@pytest.fixture
def p(pair):
    pair.stories += 1
    return pair


def account(p, name="account"):
    p.both("POST /accounts", {"owner": "alice", "metadata": {"k": "v"}}, 201, {name: "id"}, headers={"Idempotency-Key": "a-" + name})


def test_accounts(p):
    account(p)
    account(p)  # the same again
    p.both("POST /accounts", {"owner": "bob"}, 422, headers={"Idempotency-Key": "a-account"})
    account(p, "other")
    for bad in ({}, {"owner": 5}, {"owner": "x", "more": 1}, {"owner": ""}, {"owner": "x" * 5000}, {"owner": "x", "metadata": {"k": 1}}):
        p.both("POST /accounts", bad, 422)
    for broken in (b"{", b"[]", b"\xff", b'{"owner":"a","owner":"b"}'):
        p.both("POST /accounts", broken)
    p.both("GET /accounts?limit=1", status=200, keep={"cursor": "next_cursor"})
    p.both("GET /accounts?limit=1&cursor={cursor}", status=200)
    p.both("GET /accounts?limit=0", status=422)
    p.both("GET /accounts/{account}", status=200)
    p.both("GET /accounts/{account}", status=401, token="wrong")
    p.both("GET /accounts/{account}", status=404, tenant="blue")
    p.both("HEAD /accounts/{account}", status=200)
    p.both("PUT /accounts/{account}", {}, 405)
    p.both("GET /accounts/" + UNKNOWN, status=404)
    p.both("GET /accounts/nothing")
    p.both("PATCH /accounts/{account}", {"metadata": {"k": "w"}}, 200, headers={"If-Match": '"1"'})
    p.both("PATCH /accounts/{account}", {"metadata": {"k": "x"}}, 412, headers={"If-Match": '"1"'})
    p.both("PATCH /accounts/{account}", {})
    p.both("DELETE /accounts/{other}", status=204)
    p.both("DELETE /accounts/{other}", status=404)


def test_secrets(p):
    account(p, "keeper")
    at = "/accounts/{keeper}/secrets"
    for value in ("x", "ü€😀 \" \\ \n\t", "a\u0000b", "z" * 65536):
        p.both(f"POST {at}", {"name": f"v{len(value)}{ord(value[0])}", "value": value}, 201)
        p.both(f"GET {at}/v{len(value)}{ord(value[0])}/value", status=200)
    p.both(f"POST {at}", {"name": "big", "value": "z" * 65537})
    p.both(f"POST {at}", {"name": "k", "value": "one", "acl": ["oracle"]}, 201)
    p.both(f"POST {at}", {"name": "K", "value": "two"}, 409)
    p.both(f"POST {at}", {"name": "a|b", "value": "v"}, 422)
    p.both(f"GET {at}", status=200)
    p.both(f"GET {at}/k", status=200)
    p.both(f"PUT {at}/k", {"value": "two"}, 200, headers={"If-Match": '"1"'})
    p.both(f"PUT {at}/k", {"value": "two"}, 412, headers={"If-Match": '"1"'})
    p.both(f"PUT {at}/k", {}, 422)
    p.both(f"GET {at}/k/versions", status=200)
    for version in (0, 1, 2, 3, "x"):
        p.both(f"GET {at}/k/value?version={version}")
    p.both(f"DELETE {at}/k/versions/1", status=204)
    p.both(f"DELETE {at}/k/versions/1", status=404)
    p.both(f"GET {at}/k/value?version=1", status=410)
    p.both(f"DELETE {at}/k", status=204)
    p.both(f"GET {at}/k/value", status=404)
    p.both(f"GET {at}?deleted=true", status=200)
    p.both(f"POST {at}/k/undelete", status=200)
    p.both(f"POST {at}/k/undelete", status=409)
    p.both(f"DELETE {at}/k?permanent=true", status=204)
    p.both("GET /admin/secrets/keys", status=403)
    p.both("GET /admin/secrets/keys", status=200, token=ADMIN)
    p.both("POST /admin/secrets/rewrap", status=202, token=ADMIN)
    p.both("GET /admin/secrets/keys", status=200, token=ADMIN, until=lambda b: not b["running"])


def test_oracle(p, http_source):
    account(p, "asker")
    at = "/accounts/{asker}/oracle"
    p.both("GET /oracle/limits", status=200)
    p.both("POST /accounts/{asker}/secrets", {"name": "key", "value": "s3cr3t", "acl": ["oracle"]}, 201)
    http_source.answer("/parity", body='{"a":{"b":[1,2.5,"x"]},"c":"€"}')
    http_source.answer("/parity/gone", status=404, body="gone")
    source = {"name": "s", "url": http_source.url + "/parity?k={{secret:key}}", "headers": {"X-A": "{{secret:key}}"}}
    p.both(f"POST {at}/sources", source, 201, {"source": "id"})
    p.both(f"POST {at}/sources", {"name": "gone", "url": http_source.url + "/parity/gone"}, 201, {"gone": "id"})
    for bad in ({"name": "s", "url": "http://x.org/"}, {"name": "n", "url": "ftp://x.org/"}, {"name": "n", "url": "http://x.org/{{secret:}}"},
                {"name": "n", "url": "http://x.org/", "headers": {"A B": "x"}}, {"name": "n"}):
        p.both(f"POST {at}/sources", bad)
    p.both(f"GET {at}/sources", status=200)
    p.both(f"GET {at}/sources/{{source}}", status=200)
    p.both(f"PATCH {at}/sources/{{source}}", {"description": "d"}, 200, headers={"If-Match": '"1"'})
    p.both(f"PATCH {at}/sources/{{source}}", {"description": "e"}, 412, headers={"If-Match": '"1"'})
    ended = lambda b: b["status"] in ENDED
    for name, body in (("plain", {}), ("filtered", {"filter": "$.a.b[0]", "payload": {"q": "a b&c", "n": 1.5}}), ("text", {"payload": "plain"})):
        p.both(f"POST {at}/requests", {"source_id": "{source}", **body}, 201, {name: "id"})
        p.both(f"GET {at}/requests/{{{name}}}", status=200, until=ended)
    p.both(f"POST {at}/requests", {"source_id": UNKNOWN}, 404)
    p.both(f"POST {at}/requests", {"source_id": "{source}", "filter": "$["})
    p.both(f"POST {at}/requests", {"source_id": "{gone}"}, 201, {"failing": "id"})
    p.both(f"GET {at}/requests/{{failing}}", status=200, until=ended)
    p.both(f"POST {at}/requests/{{plain}}/cancel", status=409)
    http_source.answer("/parity/gone", body="[3]")
    for server, names in zip(p.servers, p.names):  # what it answers at once depends on when its job runs
        answer = server.post(f"/accounts/{names['asker']}/oracle/requests/{names['failing']}/replay")
        assert answer.status_code in (200, 202), answer.text
    p.asked.add(f"POST {at}/requests/{{failing}}/replay")
    p.both(f"GET {at}/requests/{{failing}}", status=200, until=lambda b: b["status"] == "succeeded")
    p.both(f"GET {at}/requests?limit=2", status=200, keep={"more": "next_cursor"})
    p.both(f"GET {at}/requests?limit=2&cursor={{more}}", status=200)
    p.both(f"DELETE {at}/sources/{{source}}", status=204)
    p.both(f"GET {at}/sources/{{source}}", status=404)


def test_random(p):
    account(p, "player")
    at = "/accounts/{player}/random"
    p.both("GET /random/public-key", status=200)
    for body in ({}, {"length": 1}, {"length": 1024, "request_id": "r"}):
        p.both(f"POST {at}", body, 201, {"draw": "id", "value": "value", "signature": "signature", "at": "created_at_ns", "counter": "counter",
                                         "length": "length"}, drawn=True)
    p.both(f"POST {at}", {"length": 0}, 422)
    p.both(f"GET {at}", status=200, drawn=True)
    p.both(f"GET {at}/{{draw}}", status=200, drawn=True)
    p.both(f"GET {at}/{UNKNOWN}", status=404)
    vector = {"request_id": "req-1", "counter": 1, "created_at_ns": "1700000000123456789", "length": 16, "value": "zsPI8lnIjMqIQJWbpf4CLw==",
              "signature": "Q/5jHgDZtVRD0hFdysMEqDcAQ6P5JqOIl4FvWUxyBwD8C+7ulo6V/bewoFeQRgbDyTCTWHk9IXyxxBRkFgTjAQ==",
              "public_key": "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="}
    p.both("POST /random/verify", vector, 200)
    p.both("POST /random/verify", {**vector, "counter": 2}, 200)
    p.both("POST /random/verify", {**vector, "signature": "AAAA"}, 200)


def test_runners_of_the_oracle(p, tmp_path, http_source):
    pair, p = p, Pair(tmp_path, ORACLE_RUNNER_TOKENS="one")
    try:
        account(p, "asker")
        at, one = "/accounts/{asker}/oracle", {"X-Oracle-Runner-Token": "one"}
        p.both(f"POST {at}/sources", {"name": "s", "url": http_source.url + "/parity/runner"}, 201, {"source": "id"})
        p.both("POST /oracle/runner/lease", {}, 401)
        p.both("POST /oracle/runner/lease", {}, 200, headers=one)
        p.both(f"POST {at}/requests", {"source_id": "{source}", "payload": {"q": 1}}, 201, {"request": "id"})
        for i, server in enumerate(p.servers):  # the lease is drawn at random
            item = server.post("/oracle/runner/lease", json={}, headers=one).json()["items"][0]
            p.names[i]["lease"] = item["lease"]
        work = "/oracle/runner/requests/{request}/"
        p.both(f"POST {work}extend", {"lease": "{lease}", "visibility_seconds": 120}, 200, headers=one)
        p.both(f"POST {work}complete", {"lease": "other", "result": "x"}, 409, headers=one)
        p.both(f"POST {work}complete", {"lease": "{lease}"}, 422, headers=one)
        p.both(f"POST {work}complete", {"lease": "{lease}", "result": '{"a":7}'}, 200, headers=one)
        p.both(f"POST {at}/requests", {"source_id": "{source}"}, 201, {"second": "id"})
        p.both(f"POST {at}/requests/{{second}}/cancel", status=200)
        pair.asked |= p.asked
    finally:
        p.stop()


def test_the_contract(p, http_source):
    """What test_contract.py checks in detail, of the probe plugin: the same answers, status by status."""
    p.both("GET /probe/input/x%20y?name=n&tag=a&tag=b")
    p.both("POST /probe/body", {"name": "n", "count": 3, "tags": ["a", "b"]}, 200)
    for path in ("offload", "pool", "headers", "stream", "values", "crypto", "absent", "hold?ms=10", "busy?ms=1"):
        p.both("GET /probe/" + path)
    for status in (200, 204, 400, 404, 409, 418, 429, 500, 503, 599, 600):
        p.both(f"GET /probe/problem/{status}")
    for code in (*range(2, -18, -1), -1000, 77):
        p.both(f"GET /probe/code/{code}")
    for verb in ("rollback", "commit", "in-transaction", "publish", "jobs"):
        p.both(f"POST /probe/{verb}", {"name": "n-" + verb})
        p.both(f"POST /probe/{verb}", {"name": 5}, 422)
    p.both("POST /probe/rows", {"name": "row", "amount": 5}, 201, {"row": "id"}, headers={"Idempotency-Key": "row"})
    p.both("POST /probe/rows", {"name": "row", "amount": 5}, 201, headers={"Idempotency-Key": "row"})
    p.both("POST /probe/rows", {"name": "row"}, 409)
    p.both("GET /probe/rows", status=200)
    p.both("GET /probe/rows/{row}", status=200)
    for entry in ("probe.echo", "probe.refuse", "probe.missing", "probe.deep", "probe.absent", "absent.entry", "secrets.resolve", "PROBE"):
        p.both("POST /probe/ask", {"entry": entry, "question": {"a": 1}, "timeout_ms": 5000})
    http_source.answer("/parity/fetch", body='{"fetched":true}')
    for url in (http_source.url + "/parity/fetch", "http://127.0.0.1:1/", "ftp://x.org/", "http://", "http://[::1"):
        p.both("POST /probe/fetch", {"url": url})
    p.both("POST /probe/count", {})


def test_every_route_of_the_first_party_was_compared(pair):
    if pair.stories < 5:
        pytest.skip("for a run of the whole file")
    shape = lambda route: re.sub(r"\{\w+\}", "{}", route)
    asked = {shape(r) for r in pair.asked}
    for name in FIRST_PARTY:
        with open(f"{BUILD}/plugins/{name}.so", "rb") as f:
            routes = re.findall(rb"\0((?:GET|POST|PUT|PATCH|DELETE) /[a-z{}/-]+)\0", f.read())
        assert routes
        assert [r.decode() for r in routes if not any(re.fullmatch(re.escape(shape(r.decode())).replace(r"\{\}", "[^/]+"), a) for a in asked)] == []
    assert pair.compared > 90
