"""test_loader.py - plugins that are broken in every way known: the server starts, says what is wrong with each, and serves the rest."""
import os
import shutil
import subprocess
import pytest
from server import BUILD, ROOT

GOOD = '''#include <service_layer/plugin.h>
static sl_err run(void *self, sl_call *c) { (void)self; return sl_reply_json(c, 200, SL("{}")); }
static const sl_entry entries[] = { { SL_ROUTE, "GET /NAME", run, .doc = "One." } };
'''
PLUGIN = 'SL_PLUGIN("NAME", "1.0.0", SL_ENTRIES(entries), MORE);\n'


@pytest.fixture
def build(tmp_path):
    """build(name, code, ...) compiles a plugin into one directory; the server searches it together with `hello`."""
    directory = tmp_path / "plugins"
    directory.mkdir()
    shutil.copy(os.path.join(BUILD, "test-plugins", "hello.so"), directory)

    def make(name, code=None, more=".doc = \"\"", flags=(), file=None):
        text = (code or GOOD + PLUGIN).replace("NAME", name).replace("MORE", more)
        source = tmp_path / (name + ".c")
        source.write_text(text)
        out = directory / ((file or name) + ".so")
        subprocess.run(["cc", "-std=c11", "-D_GNU_SOURCE", "-shared", "-fPIC", "-fvisibility=hidden", "-w", "-I",
                        os.path.join(ROOT, "include"), "-o", out, source, *flags], check=True, timeout=60)
        return out

    make.directory = directory
    return make


@pytest.fixture
def load(build, start):
    """Starts a server with these plugins enabled and returns it with its modules by name."""
    def go(*names, config="", **more):
        wanted = "".join(f"  {n}:\n    enabled: true\n" for n in ("hello",) + names)
        s = start(config=f"modules:\n  dirs: [\"{build.directory}\"]\nplugins:\n{wanted}{config}", **more)
        assert s.get("/hello").json() == {"hello": "world"}
        s.modules = {m["name"]: m for m in s.get("/system/status").json()["modules"]}
        return s
    return go


def failed(server, name, *says):
    module = server.modules[name]
    assert module["status"] == "failed", module
    for part in says:
        assert part in module["error"], module["error"]


def test_broken_plugins_do_not_hurt_the_server(build, load):
    build("crash", GOOD + "__attribute__((constructor)) static void boom(void) { *(volatile int *)0 = 1; }\n" + PLUGIN)
    build("leave", "#include <sys/syscall.h>\n#include <unistd.h>\n" + GOOD + "__attribute__((constructor)) static void go(void) { syscall(SYS_exit_group, 0); }\n" + PLUGIN)
    build("abort", "#include <stdlib.h>\n" + GOOD + "__attribute__((constructor)) static void go(void) { abort(); }\n" + PLUGIN)
    build("symbol", GOOD + "void nowhere(void); void *keep(void) { return nowhere; }\n" + PLUGIN)
    build("wild", GOOD + PLUGIN, ".entries = (const sl_entry *)16, .n_entries = 3")
    build("text", GOOD + PLUGIN, ".doc = (const char *)16")
    build("empty", "int nothing;\n")
    build("major", GOOD + PLUGIN, ".major = 7")
    build("other", file="named")
    (build.directory / "script.so").write_text("#!/bin/sh\necho hello\n")
    (build.directory / "cut.so").write_bytes((build.directory / "hello.so").read_bytes()[:3000])
    names = ("crash", "leave", "abort", "symbol", "wild", "text", "empty", "major", "named", "script", "cut")
    s = load(*names)
    failed(s, "crash", "crashed while it was loaded", "signal 11")
    failed(s, "leave", "description that cannot be read")
    failed(s, "abort", "signal 6")
    failed(s, "symbol", "nowhere")
    failed(s, "wild", "crashed while it was loaded")
    failed(s, "text", "crashed while it was loaded")
    failed(s, "empty", "no sl_plugin_v1", "empty.so")
    failed(s, "major", "built against contract 7.0, this host runs 1.")
    failed(s, "named", "names itself `other`")
    failed(s, "script", "not an ELF file")
    failed(s, "cut", "cut off")
    assert s.modules["hello"]["status"] == "started"
    assert s.get("/readyz", token=None).status_code == 200 and s.get("/healthz", token=None).status_code == 503


def test_constructor_that_hangs_is_given_up(build, load):
    build("hang", "#include <unistd.h>\n" + GOOD + "__attribute__((constructor)) static void go(void) { for (;;) pause(); }\n" + PLUGIN)
    s = load("hang")
    failed(s, "hang", "did not load within 10 s")


def test_what_will_not_unload_is_said(build, load):
    build("sticky", flags=["-Wl,-z,nodelete"])
    build("threads", "#include <pthread.h>\n" + GOOD + "void *keep(void) { return pthread_create; }\n" + PLUGIN)
    build("loud", GOOD + "__attribute__((visibility(\"default\"))) int shouted = 1;\n" + PLUGIN)
    build("tls", GOOD + "__thread int mine; int *keep(void) { return &mine; }\n" + PLUGIN, flags=["-ftls-model=initial-exec"])
    s = load("sticky", "threads", "loud", "tls")
    for name, says in [("sticky", "never be unloaded"), ("threads", "imports pthread_create"), ("loud", "exports shouted"),
                       ("tls", "static thread-local storage")]:
        assert s.modules[name]["status"] == "started"
        s.said(f"plugin={name} ", says)


def test_needs(build, load):
    need = "\nstatic const sl_need needs[] = { NEEDS };\n"

    def plugin(name, needs):
        build(name, (GOOD + need + PLUGIN).replace("NEEDS", needs), "SL_NEEDS(needs)")

    plugin("aa", '{ "bb", 1, 0 }')
    plugin("bb", '{ "cc", 1, 0 }')
    plugin("cc", '{ "aa", 1, 0 }')
    plugin("waits", '{ "aa", 1, 0 }')
    plugin("absent", '{ "nowhere", 1, 0 }')
    plugin("future", '{ "sl.store", 2, 0 }')
    plugin("major", '{ "hello", 2, 0 }')
    plugin("fine", '{ "hello", 1, 0 }, { "sl.kv", 1, 1 }, { "nowhere", 1, 1 }')
    s = load("aa", "bb", "cc", "waits", "absent", "future", "major", "fine")
    failed(s, "aa", "needs go in a circle: aa -> bb -> cc -> aa")
    failed(s, "absent", "needs nowhere, which is not installed")
    failed(s, "future", "needs sl.store 2, this host offers 1: upgrade appserver")
    failed(s, "major", "needs hello 2, version 1.0.0 is installed")
    assert s.modules["waits"]["status"] == "waiting" and "waiting for aa" in s.modules["waits"]["error"]
    assert s.get("/waits").status_code == 503 and s.get("/aa").status_code == 503 and s.get("/nowhere").status_code == 404
    assert s.modules["fine"]["status"] == "started" and s.modules["fine"]["needs"] == ["hello", "nowhere"]
    assert list(s.modules).index("hello") < list(s.modules).index("fine")


def test_clash_between_plugins_fails_the_later_one(build, load):
    build("first", GOOD.replace("/NAME", "/same/{a}") + PLUGIN)
    build("second", GOOD.replace("/NAME", "/same/{b}") + PLUGIN)
    s = load("first", "second")
    assert s.modules["first"]["status"] == "started"
    failed(s, "second", "route GET /same/{b} clashes with GET /same/{a} of module first")


def test_tables_that_were_not_needed_are_absent(build, load):
    build("bare", GOOD.replace('sl_reply_json(c, 200, SL("{}"))',
                               'sl_reply_json(c, 200, c->host->store || c->host->http || c->host->crypto ? SL("1") : SL("0"))') + PLUGIN)
    assert load("bare").get("/bare").json() == 0


def test_plugin_of_another_directory_runs_only_when_named(build, start):
    build("quiet")
    s = start(config=f"modules:\n  dirs: [\"{build.directory}\"]\nplugins:\n  hello:\n    enabled: true\n")
    modules = {m["name"]: m["status"] for m in s.get("/system/status").json()["modules"]}
    assert modules["quiet"] == "disabled" and s.get("/quiet").status_code == 404


def test_named_but_not_found(build, load, start):
    s = load("ghost")
    failed(s, "ghost", "plugins.ghost", "no file ghost.so", "config.yaml:")
    required = start(wait=False, config=f"modules:\n  dirs: [\"{build.directory}\"]\nplugins:\n  ghost:\n    required: true\n")
    assert required.process.wait(20) == 1 and "no file ghost.so" in required.log


def test_world_writable_plugin_is_refused(build, load):
    os.chmod(build("open"), 0o777)
    failed(load("open"), "open", "everybody may write to it")


def test_config_is_checked_before_any_code_runs(build, load, start):
    build("tuned", more='.config = SL_OBJECT(SL_REQUIRED("level", SL_INTEGER(1, 9), "Level."))')
    config = "    config:\n      level: 12\n      colour: red\n"
    s = load("tuned", config=config)
    failed(s, "tuned", "config.yaml:", "plugins.tuned")
    checked = start(wait=False, args=["-check"],
                    config=f"modules:\n  dirs: [\"{build.directory}\"]\nplugins:\n  tuned:\n{config}  ghost: {{}}\n")
    assert checked.process.wait(20) == 2
    lines = checked.log.splitlines()
    for part in ("plugins.tuned.config.level: ", "plugins.tuned.config.colour: ", "plugins.ghost: no file"):
        assert [x for x in lines if part in x and "config.yaml:" in x], checked.log
    s = load("tuned", config="    config:\n      level: 12\n")
    failed(s, "tuned", "config.yaml:", "plugins.tuned.config.level: ")
    s = load("tuned")
    failed(s, "tuned", "plugins.tuned.config.level: is required")


def test_new_plugin_runs_as_generated(tmp_path, start):
    """What sdk/new-plugin writes compiles without a warning, passes the loader without a finding, and serves."""
    directory = tmp_path / "orders"
    subprocess.run([os.path.join(ROOT, "sdk", "new-plugin"), "orders", directory], check=True, timeout=30, stdout=subprocess.DEVNULL)
    subprocess.run(["make", "-C", directory, "CFLAGS=-O2 -Werror"], check=True, timeout=120, stdout=subprocess.DEVNULL)
    again = subprocess.run([os.path.join(ROOT, "sdk", "new-plugin"), "orders", directory], capture_output=True, text=True)
    assert again.returncode == 1 and "there already" in again.stderr
    s = start(config=f"modules:\n  dirs: [\"{directory}\"]\nplugins:\n  orders:\n    enabled: true\n")
    made = s.post("/orders/items", json={"name": "first"})
    assert made.status_code == 201, s.log
    assert s.get("/orders/items").json()["items"] == [made.json()] and s.get("/orders/items/" + made.json()["id"]).json() == made.json()
    assert s.post("/orders/items", json={"name": "first"}).json()["code"] == "item_exists"
    assert s.get("/orders/items", token=None).status_code == 401
    assert s.get("/orders/items", tenant="other").json()["items"] == []
    assert "finding" not in s.log
