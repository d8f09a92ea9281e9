"""test_slctl.py - slctl against a real server: the services' commands, a plugin it was not built with, shells, diagnosis."""
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
import pytest
import yaml

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from server import ADMIN, BUILD, KEY, ROOT, TOKEN, Server  # noqa: E402
from slctl import SLCTL, Slctl, golden  # noqa: E402

WEATHER = r'''#include <service_layer/plugin.h>
#define NEW SL_OBJECT(SL_REQUIRED("place", SL_STRING(1, 64), "Where."), \
    SL_OPTIONAL("degrees", SL_INTEGER(-90, 60), "How warm."), SL_OPTIONAL("sky", SL_ENUM("clear", "grey"), "How it looks."), \
    SL_OPTIONAL("windy", SL_BOOLEAN, "Whether it blows."), SL_OPTIONAL("notes", SL_LIST(SL_STRING(1, 32), 8), "What else."))
static sl_err echo(void *self, sl_call *c) { (void)self; return sl_reply_json(c, 201, sl_body(c, "")); }
static sl_err now(void *self, sl_call *c)
{
    sl_str place = sl_path(c, "place");
    (void)self;
    return sl_reply_json(c, 200, sl_format(c, "{\"place\":\"%.*s\",\"sky\":\"clear\"}", (int)place.n, place.p));
}
static sl_err storm(void *self, sl_call *c) { (void)self; return sl_problem(c, 409, "storm", "It storms; nobody measures now."); }
static const sl_entry entries[] = {
    { SL_ROUTE, "POST /weather/reports", echo, .scope = "weather:write", .in = NEW, .out = NEW, .status = 201, .doc = "Report the weather." },
    { SL_ROUTE, "GET /weather/places/{place}", now, .scope = "weather:read", .out = NEW, .doc = "Read the weather of a place." },
    { SL_ROUTE, "POST /weather/places/{place}/measure", storm, .scope = "weather:write", .doc = "Measure now." },
};
SL_PLUGIN("weather", "2.0.0", .doc = "Made by somebody else.", SL_ENTRIES(entries));
'''
HASH = "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e"  # of "correct horse"
CANARIES = ["canary-api-token-1", "canary-admin-token-2", "canary-dsn-password-3", "canary-login-secret-4", "canary-bearer-5", "canary-url-6",
            "canary-json-7", "canary-env-8", "canary-key-material-9", "canary-jwt-secret-of-32-characters-10"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    directory = tmp_path_factory.mktemp("plugins")
    (directory / "weather.c").write_text(WEATHER)
    subprocess.run(["cc", "-std=c11", "-D_GNU_SOURCE", "-shared", "-fPIC", "-fvisibility=hidden", "-I", os.path.join(ROOT, "include"), "-o",
                    directory / "weather.so", directory / "weather.c"], check=True, timeout=60)
    shutil.copy(os.path.join(BUILD, "test-plugins", "hello.so"), directory)
    enabled = "".join(f"  {n}:\n    enabled: true\n" for n in ("accounts", "secrets", "oracle", "random", "hello", "weather"))
    s = Server(config=f"modules:\n  dirs: [\"{BUILD}/plugins\", \"{directory}\"]\nplugins:\n{enabled}",
               env={"AUTH_USERS": f"alice:{HASH}:user:default",
                    "AUTH_JWT_SECRET": CANARIES[9], "API_TOKENS": f"{TOKEN},{CANARIES[0]}", "ADMIN_TOKENS": f"{ADMIN},{CANARIES[1]}"})
    yield s
    s.stop()


@pytest.fixture
def slctl(server):
    return Slctl(server.url, TOKEN)


@pytest.fixture
def admin(server):
    return Slctl(server.url, ADMIN)


def out(p):
    return json.loads(p.stdout)


def test_a_plugin_that_slctl_was_not_built_with_brings_its_commands(slctl):
    assert out(slctl("hello")) == {"hello": "world"}
    golden("weather-help", slctl("help", "weather").stdout)
    golden("weather-create-help", slctl("weather", "reports", "create", "--help").stdout)
    report = slctl("weather", "reports", "create", "--place", "Oslo", "--degrees", "-4", "--sky", "grey", "--windy", "--notes", "a,b", "-o", "yaml")
    golden("weather-create", report.stdout)
    assert out(slctl("weather", "places", "get", "Oslo"))["place"] == "Oslo"
    assert "--degrees warm: must be integer -90..60." in slctl("weather", "reports", "create", "--place", "x", "--degrees", "warm", code=2).stderr
    golden("weather-invalid", slctl("weather", "reports", "create", "--place", "", "--degrees", "99", code=1).stderr)
    golden("weather-conflict", slctl("weather", "places", "measure", "Oslo", code=4).stderr)


def test_the_commands_of_the_original(server, slctl, admin, http_source):
    account = out(slctl("accounts", "create", "--owner", "alice", "--metadata", "team=blue,tier=1"))["id"]
    assert out(slctl("accounts", "get", account))["metadata"] == {"team": "blue", "tier": "1"}
    assert account in [a["id"] for a in out(slctl("accounts", "list"))["items"]]
    slctl.env["SERVICE_LAYER_ACCOUNT"] = account
    slctl("secrets", "create", "--name", "api-key", "--value", "@-", "--acl", "oracle", input="s3cr3t\n")
    assert [s["name"] for s in out(slctl("secrets", "list", "--account", account))["items"]] == ["api-key"]
    assert out(slctl("secrets", "get", "--account", account, "--name", "api-key"))["version"] == 1
    assert out(slctl("secrets", "value", "api-key"))["value"] == "s3cr3t"
    source = out(slctl("oracle", "sources", "create", "--name", "neo", "--url", http_source.url + "/neo", "--method", "GET", "--description", "x"))["id"]
    assert out(slctl("oracle", "sources", "get", "--source", source))["name"] == "neo"
    assert len(out(slctl("oracle", "sources", "list"))["items"]) == 1
    request = out(slctl("oracle", "requests", "create", "--source", source, "--payload", '{"a": 1}'))["id"]
    server.until(f"/accounts/{account}/oracle/requests/{request}", lambda r: r["status"] != "pending" and r["status"] != "running")
    assert out(slctl("oracle", "requests", "list", "--all", "--limit", "100"))["items"][0]["id"] == request
    again = slctl("oracle", "requests", "retry", "--request", request, code=None)
    assert again.returncode in (0, 4) and "There is no command" not in again.stderr
    made = out(slctl("random", "generate", "--length", "16", "--request-id", "r1"))
    assert made["request_id"] == "r1" and out(slctl("random", "list", "--limit", "10"))["items"][0]["id"] == made["id"]
    assert out(admin("services", "list"))["modules" if "modules" in out(admin("services", "list")) else "items"]
    assert out(admin("modules", "get", "weather"))["version"] == "2.0.0"
    assert "waiting" in out(admin("jobs", "stats")) and "items" in out(admin("jobs"))
    assert out(admin("bus", "events", "--event", "orders.new", "--payload", '{"n": 1}'))["status"] == "ok"
    assert out(admin("bus", "data", "--topic", "prices", "--payload", "7"))["status"] == "ok"
    answer = out(admin("bus", "compute", "--entry", "accounts.get", "--payload", json.dumps({"id": account})))
    assert answer["owner"] == "alice"
    assert out(slctl("health"))["status"] == "ok" and "slctl " in slctl("version").stdout
    slctl("secrets", "delete", "--name", "api-key")
    golden("account-missing", slctl("accounts", "get", "00000000-0000-7000-8000-000000000000", code=3).stderr)
    slctl("accounts", "delete", code=2)
    slctl("accounts", "delete", account)
    golden("account-deleted", slctl("accounts", "get", account, code=3).stderr)


def test_the_audit_log_is_exported_and_checked(server, slctl, admin, tmp_path):
    slctl("accounts", "create", "--owner", "audited")
    end = time.monotonic() + 20
    while out(admin("audit", "head"))["seq"] < 1:
        assert time.monotonic() < end
    (tmp_path / "audit.jsonl").write_text(admin("audit", "export").stdout)
    assert ", intact; head " in slctl("audit", "verify", str(tmp_path / "audit.jsonl")).stdout
    assert out(admin("audit", "--limit", "5", "--method", "POST"))["items"][0]["method"] == "POST"
    slctl("audit", "list", code=8)


def test_two_admins_at_one_module(admin):
    tag = out(admin("modules", "get", "hello"))["etag"]
    assert out(admin("modules", "reload", "hello", "--if-match", tag))["status"] == "started"
    assert "412" in admin("modules", "reload", "hello", "--if-match", tag, code=4).stderr


def test_status_and_health(server, slctl, admin):
    screen = slctl("status", "-o", "table").stdout
    assert "health      ok" in screen and "store       memory, lost at exit" in screen and "weather" in screen
    told = out(slctl("status"))
    assert told["health"]["status"] == "ok" and {"weather", "oracle"} <= {m["name"] for m in told["status"]["modules"]}
    stranger = slctl("status", "-o", "table", env={"SERVICE_LAYER_TOKEN": None}, code=8)
    assert "health      ok" in stranger.stdout and "weather" not in stranger.stdout
    assert slctl("modules", code=8).stderr.startswith("slctl: ") and slctl("health", "-o", "table").stdout == "ok\n"


def test_the_real_document_explains_itself(slctl):
    p = slctl("explain", "oracle.sources")
    assert "FIELDS" in p.stdout and "url  <" in p.stdout and "oracle.sources.create" in p.stdout
    p = slctl("explain", "oracle", "requests", "create")
    assert "TAKES" in p.stdout and "source_id  <uuid> required" in p.stdout and "GIVES" in p.stdout
    words = slctl("__complete", "--", "").stdout
    assert {"accounts", "oracle", "weather", "status", "context"} <= {line.split("\t")[0] for line in words.splitlines()}


def test_every_command_of_the_server_has_help_and_explains_itself(server, slctl):
    document = server.get("/openapi.json").json()
    ids = [o["operationId"] for item in document["paths"].values() for o in item.values() if isinstance(o, dict) and "operationId" in o]
    assert len(ids) > 40
    for name in ids:
        words = name.split(".")
        assert f"Usage: slctl {' '.join(words)}" in slctl(*words, "--help").stdout
    slctl("explain", *ids[:1])


def test_events_of_a_real_server(server, admin):
    tail = admin.start("bus", "events", "tail", "--topic", "tailed.*", "--count", "2", "-o", "json")
    try:
        got = []
        import threading
        reader = threading.Thread(target=lambda: got.extend(json.loads(line) for line in tail.stdout), daemon=True)
        reader.start()
        for n in range(200):  # the stream begins at some moment: events before it are not on it
            admin("bus", "events", "create", "--event", "tailed.one", "--payload", str(n))
            reader.join(0.1)
            if not reader.is_alive():
                break
        assert [e["topic"] for e in got] == ["tailed.one"] * 2 and tail.wait(timeout=20) == 0
    finally:
        tail.kill()
        tail.communicate()


def test_signing_in_to_a_real_server(server):
    slctl = Slctl("", None)
    slctl.env.pop("SERVICE_LAYER_ADDR")
    path = slctl.home + "/.config/slctl/config.yaml"
    slctl("login", "--username", "alice", "--password", "wrong", "--addr", server.url, code=8)
    assert "alice, role user" in slctl("login", "--username", "alice", "--password", "@-", "--addr", server.url, input="correct horse\n").stdout
    assert out(slctl("auth", "whoami"))["user"] == "alice"
    kept = yaml.safe_load(open(path))
    first = kept["contexts"]["default"]["token"]
    kept["contexts"]["default"]["token"] = "ended"
    with open(path, "w") as f:
        yaml.safe_dump(kept, f)
    assert out(slctl("auth", "whoami"))["user"] == "alice"
    assert yaml.safe_load(open(path))["contexts"]["default"]["token"] not in (first, "ended")
    slctl("modules", code=8)
    slctl("logout")
    slctl("auth", "whoami", code=8)


# ---- completion, in the shells themselves ----
def complete(shell, slctl, *words):
    script = slctl("completion", shell).stdout
    if shell == "bash":
        code = f"{script}\nCOMP_WORDS=(slctl \"$@\"); COMP_CWORD=$#; _slctl; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        command = ["bash", "--norc", "-c", code, "x", *words]
    elif shell == "zsh":
        stubs = "compdef() { : }\n_describe() { print -l -- ${(P)2} }\n_files() { print FILES }\n"
        command = ["zsh", "-f", "-c", f"{stubs}{script}\nwords=(slctl \"$@\"); CURRENT=$(( $# + 1 )); _slctl", "x", *words]
    else:
        command = ["fish", "--no-config", "-c", f"{script}\ncomplete -C \"slctl {' '.join(words)}\""]
    env = {**slctl.env, "PATH": os.path.dirname(SLCTL) + ":" + slctl.env["PATH"], "XDG_CONFIG_HOME": slctl.home + "/.config", "XDG_DATA_HOME": slctl.home}
    p = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert p.returncode == 0 and p.stderr == "", p.stderr
    first = ":" if shell == "zsh" else "\t"
    return [line.split(first)[0] for line in p.stdout.splitlines()]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_in_the_shell(shell, slctl):
    assert complete(shell, slctl, "wea") == ["weather"]
    assert complete(shell, slctl, "weather", "") == ["places", "reports"]
    assert complete(shell, slctl, "weather", "reports", "cr") == ["create"]
    assert complete(shell, slctl, "weather", "reports", "create", "--sky", "") == ["clear", "grey"]
    assert set(complete(shell, slctl, "weather", "reports", "create", "--w")) == {"--windy", "--watch"}
    assert complete(shell, slctl, "-o", "ya") == ["yaml"]
    slctl("context", "set", "far", "--addr", "http://127.0.0.1:9")
    assert complete(shell, slctl, "context", "use", "") == ["far"]


# ---- the diagnosis bundle ----
def log_with_canaries():
    return "\n".join([
        f'{{"level":"info","msg":"x","password":"{CANARIES[6]}","deep":{{"token":{{"value":"{CANARIES[6]}"}}}}}}',
        f"login_secret={CANARIES[3]} next=1", f"Authorization: Bearer {CANARIES[4]}", f"got {CANARIES[0]} from somewhere",
        f"postgres://user:{CANARIES[2]}@db.internal/x?sslmode=require", f"fetch https://me:{CANARIES[5]}@example.com/", f"odd {CANARIES[7]} text",
        "-----BEGIN PRIVATE KEY-----", CANARIES[8], "-----END PRIVATE KEY-----", "a line that stays", ""])


def test_a_diagnosis_bundle_holds_no_secret(server, tmp_path):
    admin = Slctl(server.url, CANARIES[1], SOME_API_TOKEN=CANARIES[0], DATABASE_PASSWORD=CANARIES[7])
    (tmp_path / "server.log").write_text(log_with_canaries() + server.log)
    bundle = tmp_path / "bundle.tar.gz"
    assert admin("diag", "bundle", "--log", str(tmp_path / "server.log"), "--to", str(bundle)).stdout == f"{bundle}\n"
    assert bundle.stat().st_mode & 0o777 == 0o600
    files = {}
    with tarfile.open(fileobj=io.BytesIO(bundle.read_bytes())) as tar:
        for member in tar:
            files[member.name.split("/", 1)[1]] = tar.extractfile(member).read().decode()
    assert {"version.json", "health.json", "status.json", "metrics.txt", "modules.json", "modules/weather.json", "openapi.json", "log-1.txt",
            "jobs-dead.json", "index.json", "slctl.json"} <= set(files)
    for name, text in files.items():
        for canary in [*CANARIES, ADMIN, KEY]:
            assert canary not in text, (name, canary)
    assert "a line that stays" in files["log-1.txt"] and '"level": "info"' in files["log-1.txt"]
    assert json.loads(files["modules/weather.json"])["version"] == "2.0.0" and "http_requests_total" in files["metrics.txt"]
    assert "GET /system/status: 200" in files["index.json"] and "paths" in json.loads(files["openapi.json"])
    admin("diag", "bundle", "--to", str(bundle), code=2)
    admin("diag", "bundle", "--log", str(tmp_path / "none"), "--to", str(tmp_path / "none.tar.gz"), code=2)
    assert not (tmp_path / "none.tar.gz").exists()
    refused = tmp_path / "less.tar.gz"
    Slctl(server.url, TOKEN)("diag", "bundle", "--to", str(refused))
    with tarfile.open(refused) as tar:
        index = json.loads(tar.extractfile(next(m for m in tar if m.name.endswith("index.json"))).read())
    assert index["modules.json"] == "left out: 403 forbidden"
