"""test_checks.py - what glibc does with libraries that are replaced, and with those that will not leave: each trap with its outcome."""
import os
import re
import shutil
import subprocess
import pytest
import reloads
from server import APPSERVER
from traps import SANITIZED, act, check, findings, module

unloads = pytest.mark.skipif(SANITIZED, reason="builds with sanitizers do not unload libraries")


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
    seen = module(s, "lazy")
    assert seen["status"] == "failed" and "nowhere" in seen["error"] and s.get("/hello").status_code == 200


def test_constructor_that_aborts_ends_in_the_probe(build, serve):
    build("fine")
    s = serve("fine")
    build("fine", code="__attribute__((constructor)) static void no(void) { abort(); }")
    assert "signal 6" in act(s, "fine", status=422)["detail"] and s.get("/fine").json() == 1


def test_static_tls_is_named(build, serve, tmp_path):
    build("huge", code="__thread char mine[100000];", value="mine[0]", flags=["-fvisibility=hidden", "-ftls-model=initial-exec"])
    build("tls", code="__thread int mine = 4;", value="mine", flags=["-fvisibility=hidden", "-ftls-model=initial-exec"])
    s = serve("tls", "huge")
    assert s.get("/tls").json() == 4 and findings(s, "tls") == {"static_tls": "allow"}
    assert "static TLS block" in module(s, "huge")["error"], "the loader's own word, from the probe"


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="made with x86-64 options")
def test_text_relocations_are_refused(build):
    path = build("textrel", code="static int there = 3; __attribute__((naked)) static int *where(void) "
                                 "{ __asm__(\"movabs $there, %rax; ret\"); }", value="*where()", flags=["-fvisibility=hidden", "-Wl,-z,notext"])
    code, text = check(path)
    assert code == 1 and "has text relocations" in text and "compile with -fPIC" in text


def test_executable_stack_is_refused(build):
    """One library that asks for it makes the stacks of the whole process executable."""
    code, text = check(build("stack", flags=["-fvisibility=hidden", "-Wl,-z,execstack"]))
    assert code == 1 and "refuse    executable_stack: wants an executable stack" in text and "noexecstack" in text


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
    ("libraries", {"code": "#include <dlfcn.h>\n", "body": "Dl_info i; static void *me; if (!me && dladdr((void *)run, &i)) me = dlopen(i.dli_fname, RTLD_NOW | RTLD_NOLOAD)"}),
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
    seen = reloads.module_when(s, "stays", lambda m: m["generations"][-1]["state"] == "kept")
    assert seen["last_unload"]["proven"] is False and "kept for ever" in seen["last_unload"]["outcome"]
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
    seen = reloads.module_when(s, "stays", lambda m: m["generations"][-1]["state"] == "stuck")
    assert [g["state"] for g in seen["generations"]] == ["serving", "stuck"] and not seen["last_unload"]["proven"]
    assert "stays mapped" in seen["last_unload"]["outcome"] and 'module_unloads_total{module="stays",outcome="stuck"} 1' in s.get("/metrics", token=None).text
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
    seen = reloads.settled(s, "plain")
    assert seen["last_unload"]["proven"]
    s.said("plain leaves")  # what it gave to atexit ran when it was unloaded


@unloads
def test_key_of_a_pool_thread_does_not_crash_when_the_thread_ends(build, serve):
    """Unloaded for real its destructor would be gone when the pool's thread ends: in other hosts signal 11."""
    build("keyed", code="#include <pthread.h>\nstatic void gone(void *p) { free(p); } static pthread_key_t key;\n"
                        "static void work(void *p) { (void)p; if (!key) pthread_key_create(&key, gone); pthread_setspecific(key, malloc(1)); }",
          body="c->host->core->offload(c, work, 0)")
    s = serve("keyed")
    assert all(s.get("/keyed").json() == 1 for _ in range(8))
    act(s, "keyed", "unload")
    reloads.module_when(s, "keyed", lambda m: m["last_unload"])
    assert s.get("/hello").status_code == 200
    s.stop()  # says when the exit code is not 0: the pool's threads end here


@unloads
def test_nothing_points_into_the_code_that_left(build, serve):
    """Names, docs, metrics and errors of a plugin are shown after its read-only data is gone."""
    build("gone", more=", .doc = \"Said by gone.\", SL_METRICS(metrics)", body="double one = 1; (void)one; c->host->metrics->add(c, 0, 1, 0, 0)",
          code="static const sl_metric metrics[] = { { SL_COUNTER, \"gone_total\", \"Counted by gone.\", 0 } };"
               "static const sl_need needs[] = { { \"sl.metrics\", 1, 0 } };\n#undef SL_ENTRIES\n#define SL_ENTRIES(e) .entries = e, .n_entries = 1, SL_NEEDS(needs)\n")
    s = serve("gone")
    assert s.get("/gone").json() == 1
    act(s, "gone", "disable")
    seen = reloads.module_when(s, "gone", lambda m: m["last_unload"])
    assert seen["last_unload"]["proven"] and reloads.mapped(s, "gone") == []
    assert seen["doc"] == "Said by gone." and s.get("/gone").status_code == 503
    assert "# HELP gone_total Counted by gone.\n" in s.get("/metrics", token=None).text
    assert "gone" in s.get("/system/status").text


def test_noexec_directory_is_passed_over(build, tmp_path):
    """A private copy on a noexec mount could not be mapped."""
    mount = f"mount -t tmpfs -o noexec tmpfs {tmp_path}/run"
    os.mkdir(tmp_path / "run")
    if subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True).returncode != 0:
        pytest.skip("may not mount here")
    path = build("here")
    done = subprocess.run(["unshare", "-m", "sh", "-c", f"{mount} && exec {APPSERVER} -check-plugin {path}"], capture_output=True, text=True,
                          env={"XDG_RUNTIME_DIR": f"{tmp_path}/run", "PATH": os.environ["PATH"]}, timeout=60)
    assert done.returncode == 0 and "it would be loaded" in done.stdout, done
