"""test_slctl_client.py - slctl against a scripted server: what it sends, repeats, caches, prints and asks for."""
import fcntl
import hashlib
import json
import os
import pty
import select
import signal
import socket
import stat
import struct
import subprocess
import termios
import threading
import time
import pytest
import yaml
from fake_api import FakeApi
from slctl import SLCTL, Slctl, golden
from things import ONE, PROBLEM, ROWS, THINGS, make_document, operation, parameter


def out(p):
    return json.loads(p.stdout)


def body_of(api, slctl, *args, **more):
    api.requests.clear()
    slctl("things", "create", *args, **more)
    return json.loads(api.of("POST", THINGS)[0][3])


def test_flags_become_a_typed_body(api, slctl, tmp_path):
    api.answers["POST", THINGS] = [(201, {}, {"id": "t1"})]
    assert body_of(api, slctl, "--name", "a", "--size", "3", "--ratio=0.1", "--loud", "--kind", "big", "--tags", "a,b", "--tags", "c",
                   "--parts", '{"n":1}', "--parts", '[{"n":2}]', "--policy.max", "7", "--labels", "k=v,l=w", "--labels.m", "x",
                   "--note", "null", "--owner", "o1", "--timeout", "5s", "--body.token", "t") == {
        "name": "a", "size": 3, "ratio": 0.1, "loud": True, "kind": "big", "tags": ["a", "b", "c"], "parts": [{"n": 1}, {"n": 2}],
        "policy": {"max": 7}, "labels": {"k": "v", "l": "w", "m": "x"}, "note": None, "owner_id": "o1", "timeout": "5s", "token": "t"}
    assert api.of("POST", THINGS)[0][2]["authorization"] == "Bearer tok-123"
    assert body_of(api, slctl, "--name", "@@x", "--no-loud", "--tags", '["a,b"]')["name"] == "@x"
    (tmp_path / "secret").write_text("s3cr3t\n")
    (tmp_path / "body.yaml").write_text("name: one\nsize: 2\nlabels: {a: \"1\"}\n")
    assert body_of(api, slctl, "--name", f"@{tmp_path}/secret") == {"name": "s3cr3t"}
    assert body_of(api, slctl, "--name-file", f"{tmp_path}/secret") == {"name": "s3cr3t"}
    assert body_of(api, slctl, "--name", "@-", input="piped\n") == {"name": "piped"}
    assert body_of(api, slctl, "-f", f"{tmp_path}/body.yaml", "--size", "5", "--labels.b", "2") == {
        "name": "one", "size": 5, "labels": {"a": "1", "b": "2"}}
    assert body_of(api, slctl, "-f", "-", input='{"name": "in"}') == {"name": "in"}
    api.answers["GET", THINGS] = [(200, {}, {"items": [], "next_cursor": None})]
    slctl("things", "list", "--tag", "a", "--tag", "b c", "--limit", "2")
    assert api.of("GET", THINGS)[-1][1] == THINGS + "?tag=a&tag=b%20c&limit=2"


def test_fields_that_are_called_like_something_else(api, slctl):
    named = {"type": "object", "required": ["name", "token"], "properties": {"name": {"type": "string"}, "token": {"type": "string"},
                                                                             "tenant": {"type": "object", "properties": {"a": {"type": "integer"}}}}}
    api.document = make_document(**{"/named/{name}": {"post": operation("named.create", "", [parameter("name", "path")], body=named)},
                                    "/filter": {"get": operation("filter.list", "", [parameter("tenant", "query")])}})
    api.answers["POST", "/named/n"] = [(200, {}, {})]
    api.answers["GET", "/filter"] = [(200, {}, {})]
    assert "Missing: --body.name, --body.token." in slctl("named", "create", "n", code=2).stderr
    slctl("named", "create", "n", "--body.name", "b", "--body.token", "t", "--tenant.a", "1", "--token", "other")
    sent = api.of("POST", "/named/n")[0]
    assert json.loads(sent[3]) == {"name": "b", "token": "t", "tenant": {"a": 1}} and sent[2]["authorization"] == "Bearer other"
    slctl("things", "get", "@/etc/hostname", code=3)
    assert api.requests[-1][1] == "/accounts/acme/things/%40%2Fetc%2Fhostname"
    slctl("--tenant", "acts", "filter", "--tenant", "filters")
    assert api.of("GET", "/filter")[0][1] == "/filter?tenant=filters" and api.of("GET", "/filter")[0][2]["x-tenant-id"] == "acts"


def test_a_wrong_command_line_sends_nothing(api, slctl):
    for args, words in [
        (["things", "create"], "Missing: --name."),
        (["things", "create", "--name", "a", "--size", "x"], "--size x: must be integer 1..9."),
        (["things", "create", "--name", "a", "--size", "99999999999999999999"], "must be integer"),
        (["things", "create", "--name", "a", "--kind", "huge"], "--kind huge: must be one of big, small."),
        (["things", "create", "--name", "a", "--policy.min", "1"], 'there is no field "min"'),
        (["things", "create", "--name", "a", "--policy", "5"], "--policy 5: must be object."),
        (["things", "create", "--name", "a", "--nonsense", "1"], "There is no flag --nonsense"),
        (["things", "create", "--name"], "--name needs a value"),
        (["things", "create", "-f", "-"], "standard input:1:"),
        (["things", "create", "--name", "a", "one", "two"], "Unexpected word"),
        (["things", "get"], "thing is missing"),
        (["things", "list", "--idempotency-key", "k"], "only commands that POST"),
        (["things", "get", "t1", "--all"], "has no pages"),
        (["things", "create", "--name", "a", "--watch"], "only commands that read"),
        (["accounts", "delete"], "account is missing"),
        (["thngs"], 'There is no command "thngs"'),
        (["things", "list", "-o", "xml"], "must be json, yaml, table or wide"),
        (["--timeout", "soon", "things"], "must be a duration"),
        (["--addr", "ftp://x", "things"], "http:// or https://"),
    ]:
        p = slctl(*args, input='{"name": [', code=2)
        assert words in p.stderr and p.stderr.startswith("slctl: "), (args, p.stderr)
    assert [r for r in api.requests if r[1] != "/openapi.json"] == []


@pytest.mark.parametrize("status,code", [(400, 1), (401, 8), (403, 8), (404, 3), (409, 4), (412, 4), (413, 1), (422, 1), (429, 1),
                                         (500, 5), (502, 5), (503, 5), (504, 5), (302, 5)])
def test_the_problem_is_told_in_its_words(api, slctl, status, code):
    api.answers["GET", ONE] = [(status, PROBLEM, json.dumps({"detail": "It will not do.", "code": "no_way", "trace_id": "abc",
                                                              "errors": [{"pointer": "/size", "detail": "must be small"}]}))]
    p = slctl("things", "get", "t1", code=code)
    assert p.stderr == f"slctl: It will not do. ({status} no_way)\n  /size must be small\n  trace_id abc\n" and p.stdout == ""


def test_a_server_that_is_not_there_or_is_silent(api, slctl):
    assert "127.0.0.1" in slctl("--addr", "127.0.0.1:9", "status", code=6).stderr
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        p = slctl("--addr", f"127.0.0.1:{silent.getsockname()[1]}", "--timeout", "300ms", "status", code=7)
    assert "within 300 ms" in p.stderr


def test_a_route_that_may_take_long_is_waited_for(api, slctl):
    api.answers["GET", "/report"] = [(503, {**PROBLEM, "Retry-After": "1"}, "{}"), (200, {}, {"late": True})]
    slow = {**operation("report.get"), "x-sl-deadline-ms": 90000}
    api.document = make_document(**{"/report": {"get": slow}})
    assert "report.get" in slctl("explain", "report").stdout
    assert "again in 1000 ms" in slctl("report", "-v", env={"SERVICE_LAYER_TIMEOUT": None}).stderr
    api.answers["GET", "/report"] = [(503, {**PROBLEM, "Retry-After": "20"}, '{"detail": "later"}')]
    assert "again in" not in slctl("report", "-v", "--timeout", "2s", code=5).stderr
    running = slctl.start("report", "-v")
    assert any("again in 20000 ms" in line for line in iter(running.stderr.readline, ""))
    running.kill()
    running.communicate()


def test_a_post_is_repeated_with_one_key(api, slctl):
    busy = (503, {**PROBLEM, "Retry-After": "0"}, '{"detail": "later"}')
    api.answers["POST", THINGS] = [busy, (0, {}, ""), (429, {"Retry-After": "0"}, "{}"), (201, {}, {"id": "t1"})]
    slctl("things", "create", "--name", "a")
    sent = api.of("POST", THINGS)
    assert len(sent) == 4 and len({r[2]["idempotency-key"] for r in sent}) == 1 and len({r[3] for r in sent}) == 1
    api.answers["POST", THINGS] = [(0, {}, "")]
    p = slctl("things", "create", "--name", "a", "--idempotency-key", "mine", code=6)
    assert "--idempotency-key mine" in p.stderr and api.of("POST", THINGS)[-1][2]["idempotency-key"] == "mine"
    api.answers["PATCH", ONE] = [(0, {}, "")]
    slctl("things", "update", "t1", "--name", "b", "--if-match", "3", code=6)
    assert len(api.of("PATCH", ONE)) == 1 and api.of("PATCH", ONE)[0][2]["if-match"] == '"3"'
    api.answers["GET", ONE] = [(503, {**PROBLEM, "Retry-After": "3600"}, '{"detail": "later"}')]
    started = len(api.requests)
    assert "try again after 3600 s" in slctl("things", "get", "t1", code=5).stderr
    assert len(api.requests) == started + 1


def test_the_document_is_cached_and_asked_for_again_when_a_word_is_new(api, slctl):
    slctl("things", "--help")
    slctl("things", "get", "--help")
    assert len(api.of("GET", "/openapi.json")) == 1
    api.document = make_document(**{"/new": {"get": operation("new.get", "It came later.")}})
    api.answers["GET", "/new"] = [(200, {}, {"it": "is new"})]
    assert json.loads(slctl("new").stdout) == {"it": "is new"}
    assert api.of("GET", "/openapi.json")[-1][2]["if-none-match"] == '"doc"'
    api.answers["GET", "/openapi.json"] = [(304, {}, "")]
    slctl("--refresh", "new")
    files = os.listdir(slctl.home + "/.cache/slctl")
    assert len(files) == 1 and stat.S_IMODE(os.stat(f"{slctl.home}/.cache/slctl/{files[0]}").st_mode) == 0o600
    for i in range(40):
        with open(f"{slctl.home}/.cache/slctl/{i:032x}.openapi", "w") as f:
            f.write("\n{}")
    api.answers.pop(("GET", "/openapi.json"))
    slctl("--refresh", "new")
    assert len(os.listdir(slctl.home + "/.cache/slctl")) <= 32
    api.close()
    for name in os.listdir(slctl.home + "/.cache/slctl"):
        os.utime(f"{slctl.home}/.cache/slctl/{name}", (1, 1))
    assert "Usage: slctl things create" in slctl("things", "create", "--help").stdout and "TAKES" in slctl("explain", "things.create").stdout
    slctl("things", "list", code=6)
    words = [line.split("\t")[0] for line in slctl("__complete", "--", "things", "").stdout.splitlines()]
    assert words == ["create", "delete", "get", "list", "update"]


def test_pages_are_followed_to_their_end(api, slctl):
    pages = [(200, {}, {"items": [{"id": str(i), "name": f"n{i}"}], "next_cursor": f"c{i}" if i < 3 else None}) for i in range(4)]
    api.answers["GET", THINGS] = list(pages)
    assert [x["id"] for x in json.loads(slctl("things", "list", "--all").stdout)["items"]] == ["0", "1", "2", "3"]
    assert [r[1].split("?")[1] for r in api.of("GET", THINGS)] == ["limit=2", "limit=2&cursor=c0", "limit=2&cursor=c1", "limit=2&cursor=c2"]
    api.answers["GET", THINGS] = [pages[0]]
    assert "There is more: --all, or --cursor c0" in slctl("things", "list", "-o", "table").stderr
    assert "does not end" in slctl("things", "list", "--all", code=5).stderr


def test_tables_align_what_people_write_and_show_what_could_steer_a_terminal(api, slctl):
    api.answers["GET", THINGS] = [(200, {}, {"items": ROWS, "next_cursor": None})]
    api.answers["GET", ONE] = [(200, {}, {**ROWS[0], "policy": {"max": 3, "deep": {"er": True}}})]
    for form in ("table", "wide", "yaml", "json"):
        text = slctl("things", "list", "-o", form).stdout
        assert "\x1b" not in text and "\u009b" not in text
        golden(f"rows-{form}", text)
    golden("row-table", slctl("things", "get", "t1", "-o", "table").stdout)
    assert slctl("things", "list", "-o", "table", "--no-headers").stdout.count("\n") == 3
    assert json.loads(slctl("things", "list").stdout)["items"] == ROWS


def test_yaml_reads_back_as_what_it_was(api, slctl):
    hard = {"a": ["yes", "No", "null", "~", "", " x", "1", "0x10", "1e3", "-", "- a", "a: b", "#c", "@d", "2024-01-01", "a\nb\n", "é\u2028", "\x07",
                  "'", '"', "{x", "[y", "*z", "&w", "!t", "%p", "|", ">", "=", "<<", "on", "1_000", "12:30", ".5", ".inf"],
            "yes": True, "1": 1, "n": None, "f": 0.1, "big": 9007199254740993, "e": {}, "l": [], "d": {"": {"x": [[1, [2]], {}]}}}
    api.answers["GET", ONE] = [(200, {}, hard)]
    text = slctl("things", "get", "t1", "-o", "yaml").stdout
    assert yaml.safe_load(text) == hard
    api.answers["POST", THINGS] = [(201, {}, {})]
    api.document["paths"]["/accounts/{account}/things"]["post"]["requestBody"]["content"]["application/json"]["schema"] = {}
    slctl("--refresh", "things", "create", "-f", "-", input=text)
    assert json.loads(api.of("POST", THINGS)[-1][3]) == hard


def test_contexts_keep_their_token_to_their_server(api, slctl):
    bare = Slctl("", None)
    bare.env.pop("SERVICE_LAYER_ADDR")
    api.answers["GET", THINGS] = [(200, {}, {"items": []})]
    bare("context", "set", "one", "--addr", api.url, "--token", "tok-one", "--tenant", "t1", "--account", "acme", "-o", "yaml")
    bare("context", "set", "two", "--addr", "http://127.0.0.1:9", "--token", "@-", input="tok-two\n")
    path = bare.home + "/.config/slctl/config.yaml"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert bare("things", "list").stdout == "items: []\n"
    sent = api.of("GET", THINGS)[-1][2]
    assert sent["authorization"] == "Bearer tok-one" and sent["x-tenant-id"] == "t1"
    bare("things", "list", "acme", "--addr", api.url, "--context", "two")
    assert "authorization" not in api.of("GET", THINGS)[-1][2]
    listed = bare("context", "list", "-o", "table").stdout
    golden("contexts", listed, [(api.url, "http://ADDR")])
    assert "tok-" not in listed + bare("context", "show", "two").stdout
    assert yaml.safe_load(open(path))["contexts"]["two"]["token"] == "tok-two"
    bare("context", "use", "two")
    assert yaml.safe_load(open(path))["current"] == "two"
    os.chmod(path, 0o644)
    assert "can be read by others" in bare("context", "delete", "two").stderr
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600 and "two" not in open(path).read()
    bare("context", "use", "two", code=2)
    open(path, "w").write("contexts: {}\ncontexts: {}\n")
    assert f"{path}:2: " in bare("context", "list", code=2).stderr


SESSION = {"token": "jwt-1", "refresh_token": "ref-1", "user": "alice", "role": "user", "tenants": ["acme", "beta"]}


def test_a_change_to_another_context_meanwhile_was_overwritten(api):
    c = Slctl(api.url)
    c("context", "set", "one", "--token", "first")
    path = c.home + "/.config/slctl/config.yaml"
    with open(path + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as another slctl that refreshes the session of `one`
        waiting = [c.start("context", "set", "two", "--token", "b"), c.start("context", "set", "three", "--token", "c")]
        time.sleep(0.3)
        config = yaml.safe_load(open(path))
        config["contexts"]["one"]["token"] = "second"
        with open(path, "w") as f:
            yaml.safe_dump(config, f)
    assert [p.wait(30) for p in waiting] == [0, 0]
    kept = yaml.safe_load(open(path))["contexts"]
    assert {name: kept[name]["token"] for name in kept} == {"one": "second", "two": "b", "three": "c"}


def test_a_session_is_kept_and_goes_on_when_its_token_ends(api):
    slctl = Slctl("", None)
    slctl.env.pop("SERVICE_LAYER_ADDR")
    path = slctl.home + "/.config/slctl/config.yaml"
    api.answers["POST", "/auth/login"] = [(401, PROBLEM, '{"detail": "Wrong."}'), (200, {}, SESSION)]
    assert slctl("login", "--username", "alice", "--password", "no", "--addr", api.url, code=8).stderr == "slctl: Wrong. (401)\n"
    assert not os.path.exists(path)
    said = slctl("login", "--username", "alice", "--password", "@-", "--addr", api.url, "--context", "work", input="pa ss\n").stdout
    assert said == f"alice, role user, tenants acme, beta, at {api.url}; kept in the context work\n"
    assert json.loads(api.of("POST", "/auth/login")[-1][3]) == {"username": "alice", "password": "pa ss"}
    api.answers["POST", "/auth/refresh"] = [(200, {}, {**SESSION, "token": "jwt-2", "refresh_token": "ref-2"})]
    api.answers["GET", "/accounts/a/things"] = [(401, PROBLEM, "{}"), (200, {}, {"items": []})]
    slctl("things", "list", "a")
    sent = api.of("GET", "/accounts/a/things")
    assert [r[2]["authorization"] for r in sent] == ["Bearer jwt-1", "Bearer jwt-2"]
    assert json.loads(api.of("POST", "/auth/refresh")[0][3]) == {"refresh_token": "ref-1"}
    assert "authorization" not in api.of("POST", "/auth/refresh")[0][2]
    kept = yaml.safe_load(open(path))["contexts"]["work"]
    assert (kept["token"], kept["refresh_token"]) == ("jwt-2", "ref-2") and stat.S_IMODE(os.stat(path).st_mode) == 0o600
    api.answers["POST", "/auth/refresh"] = [(401, PROBLEM, "{}")]
    api.answers["GET", "/accounts/a/things"] = [(401, PROBLEM, '{"detail": "Sign in."}')]
    assert "Sign in." in slctl("things", "list", "a", code=8).stderr
    api.answers["POST", "/auth/logout"] = [(204, {}, "")]
    slctl("logout", "--tenant", "foreign")
    headers = api.of("POST", "/auth/logout")[0][2]
    assert headers["authorization"] == "Bearer jwt-2" and "x-tenant-id" not in headers, "ended whatever tenant the context names"
    assert "token" not in open(path).read()
    slctl("logout", code=2)
    api.answers["GET", "/auth/whoami"] = [(200, {}, {"user": "robot", "role": "service", "tenants": ["*"]})]
    assert "robot, role service, tenants *" in slctl("login", "--token", "@-", input="tok-9\n").stdout
    assert yaml.safe_load(open(path))["contexts"]["work"]["token"] == "tok-9"
    assert "no terminal" in slctl("login", "--username", "x", code=2).stderr


def test_of_many_at_a_time_one_asks_for_new_tokens(api):
    slctl = Slctl("", None)
    slctl.env.pop("SERVICE_LAYER_ADDR")
    slctl("context", "set", "work", "--addr", api.url, "--token", "old", "--refresh-token", "ref-1")
    lock, used = threading.Lock(), []

    def pick(method, path):
        with lock:
            if path == "/openapi.json":
                return 200, {"Content-Type": "application/json"}, api.document
            if path == "/auth/refresh":
                used.append(json.loads(api.of("POST", "/auth/refresh")[len(used)][3])["refresh_token"])
                return 200, {}, {**SESSION, "token": "new", "refresh_token": f"ref-{len(used) + 1}"}
            new = [r for r in api.requests if r[1] == path][-1][2]["authorization"] == "Bearer new"
            return (200, {}, {"items": []}) if new else (401, PROBLEM, "{}")

    api.pick = pick
    slctl("things", "--help")
    running = [slctl.start("things", "list", f"a{i}") for i in range(6)]
    assert [p.wait(timeout=30) for p in running] == [0] * 6
    for p in running:
        p.communicate()
    assert used == ["ref-1"]


def test_a_server_certificate_is_checked(tmp_path):
    cert, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
                    "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert], check=True, capture_output=True, timeout=60)
    api = FakeApi(make_document(), tls=(cert, key))
    api.answers["GET", THINGS] = [(200, {}, {"items": []})]
    slctl = Slctl(api.url, "tok", SERVICE_LAYER_ACCOUNT="acme")
    assert "certificate" in slctl("things", "list", code=6).stderr and api.requests == []
    slctl("things", "list", "--ca-file", cert)
    assert api.of("GET", THINGS)[0][2]["authorization"] == "Bearer tok"
    api.close()


def test_a_trace_of_the_request_hides_the_token(api, slctl):
    api.answers["GET", ONE] = [(200, {"Set-Cookie": "a=secret"}, {})]
    p = slctl("things", "get", "t1", "-v")
    assert "> GET /accounts/acme/things/t1 HTTP/1.1" in p.stderr and "authorization: (hidden)" in p.stderr
    assert "tok-123" not in p.stderr and "secret" not in p.stderr


def test_other_content_is_passed_on_as_it_comes(api, slctl):
    lines = "".join(json.dumps({"seq": i, "x": "y" * 1000}) + "\n" for i in range(3000))
    api.answers["GET", "/report"] = [(200, {"Content-Type": "application/x-ndjson"}, lines)]
    assert slctl("report").stdout == lines
    api.answers["GET", "/report"] = [(403, PROBLEM, '{"detail": "no"}')]
    assert slctl("report", code=8).stderr == "slctl: no (403)\n"


def event(n):
    return f'id: e{n}\nevent: orders.new\ndata: {{"id": "e{n}", "topic": "orders.new", "key": null, "payload": {{"n": {n}}}}}\n\n'


def test_events_are_followed_over_broken_connections(api, slctl):
    stream = {"Content-Type": "text/event-stream"}
    api.answers["GET", "/system/events"] = [
        (200, stream, ": hello\nretry: 10\n\n" + event(1) + "id: half\ndata: {"), (0, {}, ""), (503, {}, "{}"),
        (200, stream, event(2).replace("\n", "\r\n") + "data: one\ndata: two\n\n" + event(3))]
    p = slctl("bus", "events", "tail", "--topic", "orders.*", "--count", "4", "-o", "json")
    got = [json.loads(line) for line in p.stdout.splitlines()]
    assert [e.get("payload") for e in got] == [{"n": 1}, {"n": 2}, "one\ntwo", {"n": 3}]
    sent = api.of("GET", "/system/events")
    assert sent[0][1] == "/system/events?topic=orders.%2A" and sent[0][2]["accept"] == "text/event-stream"
    assert "last-event-id" not in sent[0][2] and [r[2]["last-event-id"] for r in sent[1:]] == ["half"] * 3
    api.answers["GET", "/system/events"] = [(403, PROBLEM, '{"detail": "no scope"}')]
    assert "no scope" in slctl("bus", "events", "tail", code=8).stderr
    api.answers["GET", "/system/events"] = [(200, {}, {"items": []})]
    assert "no event stream" in slctl("bus", "events", "tail", code=5).stderr
    api.answers["GET", "/system/events"] = [(200, stream, event(1) * 3)]
    golden("events", slctl("bus", "events", "tail", "--count", "2", "-o", "table").stdout)


def test_watch_prints_what_is_new(api, slctl):
    api.answers["GET", THINGS] = [(200, {}, {"items": ROWS[:1]}), (200, {}, {"items": ROWS[:2]}), (500, PROBLEM, '{"detail": "ouch"}'),
                                  (200, {}, {"items": [{**ROWS[0], "size": 9}, ROWS[1]]}), (403, PROBLEM, '{"detail": "over"}')]
    p = slctl("things", "list", "--watch=100ms", "-o", "json", code=8)
    assert [(r["id"], r["size"]) for r in map(json.loads, p.stdout.splitlines())] == [("1", 1), ("2", 22), ("1", 9)]
    assert p.stderr == "slctl: ouch (500)\nslctl: over (403)\n"
    api.answers["GET", THINGS] = [(200, {}, {"items": ROWS[:1]})]
    running = slctl.start("things", "list", "-w", "-o", "table")
    assert running.stdout.readline().startswith("ID")
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=20)


class Terminal:
    """slctl on a terminal of its own, 100 columns wide; said(text) waits until it has written the text."""

    def __init__(self, slctl, *args, **env):
        pid, self.fd = pty.fork()
        if pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
            os.execve(SLCTL, [SLCTL, *args], {**slctl.env, "TERM": "xterm", **env})
        self.pid, self.text = pid, ""

    def said(self, text, seconds=20):
        end = time.monotonic() + seconds
        while text not in self.text:
            assert time.monotonic() < end, self.text
            if select.select([self.fd], [], [], 0.2)[0]:
                try:
                    self.text += os.read(self.fd, 65536).decode()
                except OSError:  # the other end is closed
                    assert text in self.text, self.text
        return self.text

    def end(self, kill=False):
        if kill:
            os.kill(self.pid, signal.SIGTERM)
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


def test_a_terminal_gets_a_table_that_fits_and_is_redrawn(api, slctl):
    row = {"id": "1", "name": "n" * 50, "size": 1, "tags": [], "status": "first", "more": "m" * 50}
    api.answers["GET", THINGS] = [(200, {}, {"items": [row]}), (200, {}, {"items": [row]}), (200, {}, {"items": [row]}),
                                  (200, {}, {"items": [{**row, "status": "second"}]})]
    t = Terminal(slctl, "things", "list")
    assert "\x1b[1mID\x1b[0m" in t.said("first") and t.end() == 0
    t = Terminal(slctl, "things", "list", NO_COLOR="1")
    assert "\x1b" not in t.said("first") and t.end() == 0
    t = Terminal(slctl, "things", "list", "--watch=100ms")
    assert t.said("second").count("\x1b[H\x1b[2J") >= 2
    t.end(kill=True)
    api.answers["GET", "/report"] = [(200, {"Content-Type": "text/plain"}, "one\x1b[2Jtwo\n")]
    t = Terminal(slctl, "report")
    assert "one\\u001b[2Jtwo" in t.said("two") and t.end() == 0
    api.answers["GET", "/report"] = [(200, {"Content-Type": "application/octet-stream"}, b"\x00\x01")]
    t = Terminal(slctl, "report")
    assert "2 bytes of application/octet-stream" in t.said("program.") and t.end() == 2


def test_a_password_is_asked_for_and_not_shown(api):
    slctl = Slctl(api.url, None)
    api.answers["POST", "/auth/login"] = [(200, {}, SESSION)]
    t = Terminal(slctl, "login")
    t.said("username: ")
    os.write(t.fd, b"alice\n")
    t.said("password: ")
    os.write(t.fd, b"open sesame\n")
    assert "sesame" not in t.said("kept in the context default") and t.end() == 0
    assert json.loads(api.of("POST", "/auth/login")[0][3]) == {"username": "alice", "password": "open sesame"}


def test_a_plugin_that_is_called_like_a_command_of_slctl(api, slctl):
    api.document = make_document(**{"/status": {"get": operation("status.get")}, "/x": {"get": operation("login.list")}})
    api.answers["GET", "/status"] = [(200, {}, {"mine": 1})]
    assert out(slctl("status.get")) == {"mine": 1} and out(slctl("status.get", "-o", "json"))["mine"] == 1
    api.answers["GET", "/x"] = [(200, {}, {"items": []})]
    assert out(slctl("login.list"))["items"] == []
    assert "Usage: slctl login list" in slctl("help", "login.list").stdout


def test_help_names_what_the_document_tells(api, slctl):
    golden("help-things", slctl("help", "things").stdout)
    golden("help-things-create", slctl("things", "create", "--help").stdout)
    golden("explain-things", slctl("explain", "things").stdout)
    golden("explain-things-create", slctl("explain", "things.create").stdout)
    golden("help-exit-codes", slctl("help", "exit-codes").stdout)
    golden("help-man", slctl("help", "man").stdout)
    golden("help", slctl("help").stdout, [(api.url, "http://ADDR")])
    assert slctl(code=2).stdout == slctl("help").stdout


def chain(n):
    lines, prev = [], "0" * 64
    for seq in range(1, n + 1):
        body = '{"seq":%d,"prev":"%s","user":"u%d"' % (seq, prev, seq)
        prev = hashlib.sha256(body.encode()).hexdigest()
        lines.append('%s,"hash":"%s"}' % (body, prev))
    return lines


def test_the_audit_log_is_checked_without_a_server(slctl, tmp_path):
    slctl.env["SERVICE_LAYER_ADDR"] = "http://127.0.0.1:9"
    good = chain(9)
    path = tmp_path / "audit.jsonl"

    def verify(lines, *args, **more):
        path.write_text("".join(line + "\n" for line in lines))
        return slctl("audit", "verify", *args, str(path), **more).stdout.replace(str(path), "FILE")

    golden("audit-good", verify(good))
    golden("audit-changed", verify(good[:3] + [good[3].replace("u4", "me")] + good[4:], code=9))
    golden("audit-missing", verify(good[:3] + good[4:], code=9))
    golden("audit-reordered", verify(good[:3] + [good[4], good[3]] + good[5:], code=9))
    head = json.loads(good[8])["hash"]
    assert "intact" in verify(good, "--head", head) and "cut off or replaced" in verify(good[:8], "--head", head, code=9)
    assert verify(good, "--head", json.loads(good[5])["hash"]).count("\n") == 1
    told = json.loads(slctl("audit", "verify", "-", "-o", "json", input="{}\n" + "\n".join(good) + "\n", code=9).stdout)
    assert (told["records"], told["intact"], told["findings"][0]["line"]) == (9, False, 1)
    (tmp_path / "older.jsonl").write_text("".join(line + "\n" for line in good[:4]))
    path.write_text("".join(line + "\n" for line in good[4:]))
    assert "9 records, 1 to 9, intact" in slctl("audit", "verify", str(tmp_path / "older.jsonl"), str(path)).stdout
    slctl("audit", "verify", str(tmp_path / "none"), code=2)
    slctl("audit", "verify", code=2)


def test_output_that_nobody_reads_is_no_noise(api, slctl):
    api.answers["GET", THINGS] = [(200, {}, {"items": ROWS * 2000})]
    running = slctl.start("things", "list")
    running.stdout.readline()
    running.stdout.close()
    assert running.wait(timeout=20) == 10 and running.stderr.read() == ""
    running.stderr.close()
    with open("/dev/full", "w") as full:
        p = subprocess.run([*map(str, running.args)], env=slctl.env, stdout=full, stderr=subprocess.PIPE, text=True, timeout=20)
    assert p.returncode == 10 and "could not be written" in p.stderr
