"""test_checks.py - what glibc does with libraries that are replaced, and with those that will not leave: each trap with its outcome."""
import os
import re
import shutil
import subprocess
import pytest
import reloads
from server import APPSERVER, BUILD, ROOT

SANITIZED = "address" in BUILD or "thread" in BUILD
unloads = pytest.mark.skipif(SANITIZED, reason="builds with sanitizers do not unload libraries")
C = '''#include <service_layer/plugin.h>
#include <stdlib.h>
#include <unistd.h>
CODE
static sl_err run(void *self, sl_call *c) { (void)self; BODY; return sl_reply_json(c, 200, sl_format(c, "%lld", (long long)(VALUE))); }
static const sl_entry entries[] = { { SL_ROUTE, "GET /NAME", run } };
SL_PLUGIN("NAME", "VERSION", SL_ENTRIES(entries) MORE);
'''
CXX = '''#include <service_layer/plugin.h>
CODE
static sl_err run(void *self, sl_call *c) { (void)self; BODY; return sl_reply_json(c, 200, sl_format(c, "%lld", (long long)(VALUE))); }
static const sl_entry entries[] = { { SL_ROUTE, "GET /NAME", run, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 } };
extern "C" SL_EXPORT const sl_plugin sl_plugin_v1 = { sizeof(sl_plugin), SL_MAJOR, SL_MINOR, sizeof(sl_entry), sizeof(sl_metric),
    sizeof(sl_need), 1, 0, 0, 0, "NAME", "VERSION", 0, 0, 0, entries, 0, 0, 0 };
'''


@pytest.fixture
def build(tmp_path):
    """build(name, ...) compiles into the server's directory, in place of what is there; into= names another file."""
    os.makedirs(tmp_path / "plugins", exist_ok=True)

    def make(name, code="", value="1", version="1.0.0", more="", flags=(), body="", cxx=False, into=None):
        text = CXX if cxx else C
        for key, said in (("CODE", code), ("BODY", body), ("VALUE", value), ("MORE", more), ("VERSION", version), ("NAME", name)):
            text = text.replace(key, said)
        source = tmp_path / (name + (".cc" if cxx else ".c"))
        source.write_text(text)
        out = into or tmp_path / "plugins" / (name + ".so")
        compiler = ["g++", "-std=c++17"] if cxx else ["cc", "-std=c11"]
        subprocess.run([*compiler, "-D_GNU_SOURCE", "-shared", "-fPIC", "-w", "-I", f"{ROOT}/include", "-o", f"{out}.new", source,
                        *(flags or ["-fvisibility=hidden"])], check=True, timeout=60)
        os.replace(f"{out}.new", out)
        return out

    return make


@pytest.fixture
def serve(tmp_path):
    servers = []

    def go(*names, more="", **options):
        s = reloads.start(str(tmp_path), "", more, plugins=("hello",), enabled=("hello",) + names, **options)
        servers.append(s)
        return s

    yield go
    for s in servers:
        s.stop()


def check(path, *config):
    done = subprocess.run([APPSERVER, "-check-plugin", str(path), *config], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout


def act(server, name, action="reload", status=200):
    answer = server.admin("POST", f"/admin/modules/{name}/{action}")
    assert answer.status_code == status, answer.text
    return answer.json()


def findings(server, name):
    module = server.admin("GET", f"/admin/modules/{name}").json()
    return {f["class"]: f["policy"] for f in module["generations"][0]["findings"]}


# ---- 6.1 identity: which code a path means ----
def test_file_replaced_by_rename_is_new_code(build, serve):
    build("one", value="1")
    s = serve("one")
    build("one", value="2")
    act(s, "one")
    assert s.get("/one").json() == 2


def test_symlink_that_points_elsewhere_is_new_code(build, serve, tmp_path):
    build("link", value="1", into=tmp_path / "a.so")
    build("link", value="2", into=tmp_path / "b.so")
    os.symlink(tmp_path / "a.so", tmp_path / "plugins" / "link.so")
    s = serve("link")
    assert s.get("/link").json() == 1
    os.symlink(tmp_path / "b.so", tmp_path / "new")
    os.replace(tmp_path / "new", tmp_path / "plugins" / "link.so")
    act(s, "link")
    assert s.get("/link").json() == 2
    os.remove(tmp_path / "plugins" / "link.so")
    os.link(tmp_path / "a.so", tmp_path / "plugins" / "link.so")
    act(s, "link")
    assert s.get("/link").json() == 1, "a hard link to bytes that were loaded before"


def test_file_overwritten_in_place_while_it_serves_hurts_nobody(build, serve, tmp_path):
    """The mapped file is a copy: in other hosts this is SIGBUS."""
    path = build("over", value="1")
    other = build("over", value="2", into=tmp_path / "other.so")
    s = serve("over")
    with open(path, "r+b") as f:
        f.truncate(100)
    assert s.get("/over").json() == 1
    assert "cut off" in act(s, "over", status=422)["detail"] and s.get("/over").json() == 1
    with open(other, "rb") as new, open(path, "r+b") as f:
        shutil.copyfileobj(new, f)
    act(s, "over")
    assert s.get("/over").json() == 2


def test_same_bytes_again_are_a_new_generation_with_fresh_statics(build, serve):
    build("count", code="static int n;", value="++n")
    s = serve("count")
    assert [s.get("/count").json() for _ in range(3)] == [1, 2, 3]
    act(s, "count")
    assert s.get("/count").json() == 1


def test_plugin_does_not_bind_to_the_hosts_symbols(build, serve):
    """The host exports nothing: a plugin's own function of a host function's name stays its own."""
    build("own", code="int log_write(void); __attribute__((visibility(\"default\"))) int log_write(void) { return 77; }", value="log_write()",
          flags=["-fvisibility=default"])
    s = serve("own")
    assert s.get("/own").json() == 77 and findings(s, "own") == {"exports": "allow"}


def test_shared_dependency_is_named(build, serve, tmp_path):
    (tmp_path / "dep.c").write_text("int dep(void) { return 5; }")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "libdep.so", tmp_path / "dep.c"], check=True)
    build("needy", code="int dep(void);", value="dep()", flags=["-fvisibility=hidden", "-L", str(tmp_path), "-ldep", f"-Wl,-rpath,{tmp_path}"])
    s = serve("needy")
    assert s.get("/needy").json() == 5 and findings(s, "needy") == {"needed": "allow"}
    s.said("link it statically")


# ---- 6.2 binding ----
def test_missing_symbol_is_found_before_the_server_opens_it(build, serve):
    build("lazy", code="int nowhere(void);", value="nowhere()", flags=["-fvisibility=hidden", "-Wl,-z,lazy"])
    s = serve("lazy")
    module = s.admin("GET", "/admin/modules/lazy").json()
    assert module["status"] == "failed" and "nowhere" in module["error"] and s.get("/hello").status_code == 200


def test_constructor_that_aborts_ends_in_the_probe(build, serve):
    build("fine")
    s = serve("fine")
    build("fine", code="__attribute__((constructor)) static void no(void) { abort(); }")
    assert "signal 6" in act(s, "fine", status=422)["detail"] and s.get("/fine").json() == 1


def test_static_tls_is_named(build, serve):
    build("tls", code="__thread int mine = 4;", value="mine", flags=["-fvisibility=hidden", "-ftls-model=initial-exec"])
    s = serve("tls")
    assert s.get("/tls").json() == 4 and findings(s, "tls") == {"static_tls": "allow"}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="made with x86-64 options")
def test_text_relocations_are_refused(build):
    path = build("textrel", code="static int there = 3; __attribute__((naked)) static int *where(void) "
                                 "{ __asm__(\"movabs $there, %rax; ret\"); }", value="*where()", flags=["-fvisibility=hidden", "-Wl,-z,notext"])
    code, text = check(path)
    assert code == 1 and "has text relocations" in text and "compile with -fPIC" in text


# ---- 6.3 what keeps a library mapped ----
@unloads
@pytest.mark.parametrize("what,build_options", [
    ("nodelete", {"flags": ["-fvisibility=hidden", "-Wl,-z,nodelete"]}),
    ("unique", {"cxx": True, "flags": ["-fvisibility=default"], "code": "template <class T> struct box { static int n; }; "
                "template <class T> int box<T>::n = 0; inline int &shared() { static int n; return n; }", "value": "++box<int>::n + ++shared()"}),
    ("thread_locals", {"cxx": True, "code": "struct held { int *p; held() : p(new int(1)) {} ~held() { delete p; } }; "
                       "static thread_local held mine;", "value": "*mine.p"}),
    ("thread_keys", {"code": "#include <pthread.h>\nstatic void gone(void *p) { free(p); } static pthread_key_t key;",
                     "body": "if (!key) { pthread_key_create(&key, gone); pthread_setspecific(key, malloc(1)); }"}),
    ("threads", {"code": "#include <pthread.h>\nstatic void *go(void *p) { for (;;) pause(); } static pthread_t t;",
                 "body": "if (!t) pthread_create(&t, 0, go, 0)"}),
])
def test_what_cannot_be_unloaded_is_loaded_for_ever(build, serve, what, build_options):
    """A reload works and says that the old copy stays; that is counted; nothing crashes; at the limit the reason is given."""
    path = build("stays", **build_options)
    code, text = check(path)
    assert code == 0 and re.search(f"^pin +{what}: ", text, re.M) and "for ever" in text, text
    s = serve("stays", more="  parked_max: 2\n")
    assert s.get("/stays").status_code == 200 and findings(s, "stays")[what] == "pin"
    assert "stays mapped for ever, as the findings" in act(s, "stays")["last_change"]["outcome"]
    module = reloads.module_when(s, "stays", lambda m: m["generations"][-1]["state"] == "kept")
    assert module["last_unload"]["proven"] is False and "kept for ever" in module["last_unload"]["outcome"]
    act(s, "stays", "disable")
    reloads.module_when(s, "stays", lambda m: m["last_unload"]["generation"] == 2)
    act(s, "stays", "enable")
    assert s.get("/stays").status_code == 200 and len(reloads.mapped(s, "stays")) == 3
    problem = act(s, "stays", status=409)
    assert "2 old generations of it could not be unloaded" in problem["detail"] and "isolation: process" in problem["detail"]
    assert s.get("/stays").status_code == 200 and s.get("/hello").status_code == 200


@unloads
def test_allowed_all_the_same_it_is_reported_when_it_stays(build, serve):
    build("stays", flags=["-fvisibility=hidden", "-Wl,-z,nodelete"])
    s = serve("stays", more='  findings: ["nodelete=allow"]\n  parked_max: 2\n')
    act(s, "stays")
    module = reloads.module_when(s, "stays", lambda m: m["generations"][-1]["state"] == "stuck")
    assert [g["state"] for g in module["generations"]] == ["serving", "stuck"] and not module["last_unload"]["proven"]
    assert "stays mapped" in module["last_unload"]["outcome"] and 'module_unloads_total{module="stays",outcome="stuck"} 1' in s.get("/metrics", token=None).text
    act(s, "stays")
    reloads.module_when(s, "stays", lambda m: [g["state"] for g in m["generations"]] == ["serving", "stuck", "stuck"])
    assert "2 old generations of it could not be unloaded" in act(s, "stays", status=409)["detail"]
    assert s.get("/stays").json() == 1


@unloads
@pytest.mark.parametrize("cure", [["-fvisibility=hidden"], ["-fvisibility=default", "-fno-gnu-unique"]])
def test_cures_of_a_unique_symbol_cure_it(build, serve, cure):
    build("cured", cxx=True, flags=cure, code="template <class T> struct box { static int n; }; template <class T> int box<T>::n = 0;",
          value="++box<int>::n")
    s = serve("cured")
    assert "unique" not in findings(s, "cured") and s.get("/cured").json() == 1
    act(s, "cured")
    assert s.get("/cured").json() == 1 and reloads.settled(s, "cured")["last_unload"]["proven"]


@unloads
def test_plain_thread_local_and_atexit_do_not_keep_it(build, serve):
    build("plain", code="__thread int mine = 1; static void bye(void) { ssize_t n = write(2, \"plain leaves\\n\", 13); (void)n; }",
          body="static int once; if (!once++) atexit(bye)", value="mine")
    s = serve("plain")
    assert s.get("/plain").json() == 1
    act(s, "plain")
    module = reloads.settled(s, "plain")
    assert module["last_unload"]["proven"]
    s.said("plain leaves")  # what it gave to atexit ran when it was unloaded


# ---- what has no business in the server ----
@pytest.mark.parametrize("what,code,says", [
    ("signals", "#include <signal.h>\nvoid *keep(void) { return sigaction; }", "the host's"),
    ("processes", "void *keep(void) { return fork; }", "a process of its own"),
    ("exit", "void *keep(void) { return _exit; }", "return an error instead"),
])
def test_what_belongs_into_a_process_of_its_own(build, serve, what, code, says):
    path = build("guest", code=code)
    status, text = check(path)
    assert status == 0 and f"isolate   {what}: " in text and says in text and "it would be loaded in a process of its own" in text
    s = serve("guest")
    module = s.admin("GET", "/admin/modules/guest").json()
    assert s.get("/guest").json() == 1 and module["isolation"] == "process" and module["process"]["pid"] != s.process.pid
    allowed = serve("guest", more=f'  findings: ["{what}=allow"]\n')
    assert allowed.get("/guest").json() == 1 and findings(allowed, "guest") == {what: "allow"}
    assert allowed.admin("GET", "/admin/modules/guest").json()["isolation"] == "none"


def test_what_must_have_a_process_but_may_not_is_refused(build, tmp_path):
    build("guest", code="void *keep(void) { return fork; }")
    s = reloads.start(str(tmp_path), plugins=("hello",), listed="  guest: {enabled: true, isolation: none}\n")
    module = s.admin("GET", "/admin/modules/guest").json()
    assert module["status"] == "failed" and "may run only in a process of its own (plugins.guest.isolation: process)" in module["error"]


def test_unknown_class_of_findings_is_an_error(serve):
    with pytest.raises(AssertionError, match="CLASS is one of"):
        serve(more='  findings: ["thread=allow"]\n')


# ---- grants and signatures ----
def test_grants_beyond_what_the_operator_allows_are_refused(build, serve, tmp_path):
    build("greedy", more=', .grants = "store:greedy_rows net:api.example.com"')
    s = reloads.start(str(tmp_path), plugins=("hello",), listed="  greedy: {enabled: true, grants: \"store:greedy_*\"}\n")
    module = s.admin("GET", "/admin/modules/greedy").json()
    assert module["status"] == "failed" and "asks for the grant net:api.example.com" in module["error"]
    assert "plugins.greedy.grants does not allow" in module["error"]
    s.stop()
    s = reloads.start(str(tmp_path), plugins=("hello",), listed="  greedy: {enabled: true, grants: \"store:greedy_* net:*\"}\n")
    assert s.get("/greedy").json() == 1
    build("greedy", more=', .grants = "publish:everything.*"')
    assert "asks for the grant publish:everything.*" in act(s, "greedy", status=422)["detail"]
    s.stop()


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """An Ed25519 key pair: private file and public bytes as hex."""
    path = tmp_path_factory.mktemp("keys") / "key.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", path], check=True, capture_output=True)
    der = subprocess.run(["openssl", "pkey", "-in", path, "-pubout", "-outform", "DER"], check=True, capture_output=True).stdout
    return path, der[-32:].hex()


def sign(path, key):
    """As docs/loading.md says."""
    subprocess.run(["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", path, "-out", f"{path}.sig"], check=True, capture_output=True)


def test_signatures(build, serve, keys, tmp_path):
    key, public = keys
    path = build("signed")
    sign(path, key)
    os.makedirs(tmp_path / "plugins", exist_ok=True)
    shutil.copy(f"{BUILD}/test-plugins/hello.so", tmp_path / "plugins")
    sign(tmp_path / "plugins" / "hello.so", key)
    s = serve("signed", more=f'  trusted_keys: ["{public}"]\n  signature_policy: refuse\n')
    assert s.get("/signed").json() == 1 and findings(s, "signed") == {}
    build("signed", value="2")
    assert "its signature is of no trusted key, or the file was changed" in act(s, "signed", status=422)["detail"]
    os.remove(f"{path}.sig")
    assert "is not signed" in act(s, "signed", status=422)["detail"] and s.get("/signed").json() == 1
    sign(path, key)
    act(s, "signed")
    assert s.get("/signed").json() == 2
    (tmp_path / "plugins" / "signed.so.sig").write_text((tmp_path / "plugins" / "signed.so.sig").read_bytes().hex() + "\n")
    act(s, "signed")


def test_signature_policy_warn_loads_and_says_so(build, serve, keys):
    build("loose")
    s = serve("loose", more=f'  trusted_keys: ["{keys[1]}"]\n')
    assert s.get("/loose").json() == 1 and findings(s, "loose") == {"signature": "allow"}
    s.said("is not signed")


def test_check_plugin_answers_with_its_exit_code(build, tmp_path):
    code, text = check(f"{BUILD}/test-plugins/hello.so")
    assert code == 0 and "plugin    hello 1.0.0" in text and "good      it would be loaded\n" in text
    code, text = check(tmp_path / "absent.so")
    assert code == 1 and "No such file" in text
    path = build("named", into=tmp_path / "other.so")
    assert check(path)[1].splitlines()[-1].startswith("refused   names itself `named`")
