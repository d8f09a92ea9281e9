"""test_loading.py - the loader's policies, grants and signatures, and -check-plugin: what is let in, and what is said."""
import base64
import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
import pytest
from server import BUILD, ROOT
from traps import SANITIZED, act, check, findings, module


def needs(what):
    return (f"static const sl_need needs[] = {{ {{ {what}, 0 }} }};\n#undef SL_ENTRIES\n"
            "#define SL_ENTRIES(e) .entries = e, .n_entries = 1, SL_NEEDS(needs)\n")


def write(tmp_path, config):
    (tmp_path / "check.yaml").write_text(config)
    return str(tmp_path / "check.yaml")


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
    assert json.loads(check(path, "-o", "json")[1])["isolated"]
    s = serve("guest")
    seen = module(s, "guest")
    assert s.get("/guest").json() == 1 and seen["isolation"] == "process" and seen["process"]["pid"] != s.process.pid
    here = serve(listed="  guest: {findings: [%s=allow]}\n" % what)
    assert here.get("/guest").json() == 1 and findings(here, "guest") == {what: "allow"} and module(here, "guest")["isolation"] == "none"
    not_here = serve(listed="  guest: {isolation: none}\n")
    assert module(not_here, "guest")["status"] == "failed"
    assert "may run only in a process of its own (plugins.guest.isolation: process)" in module(not_here, "guest")["error"]


def test_policies_of_all_and_of_one(build, serve, tmp_path):
    exits = "void *keep(void) { return _exit; }"
    for name in ("one", "two", "three"):
        build(name, code=exits)
    s = serve("one", more="  findings: [exit=refuse, threads=refuse]\n",
              listed="  hello: {}\n  one: {findings: [exit=allow]}\n  two: {}\n  three: {findings: [exit=pin]}\n")
    assert s.get("/one").json() == 1 and findings(s, "one") == {"exit": "allow"}
    assert s.get("/three").json() == 1 and findings(s, "three") == {"exit": "pin"}
    assert module(s, "two")["status"] == "failed" and "imports _exit" in module(s, "two")["error"]
    s.said("plugin file", "class=exit", "policy=pin", "plugin=three")
    text = s.get("/metrics", token=None).text
    assert 'service_module_findings{module="three",class="exit",policy="pin"} 1' in text and 'module="two",class' not in text
    code, text = check(build("bad", into=tmp_path / "bad.so"), "-config", write(tmp_path, "modules: {findings: [thread=allow]}"))
    assert code == 2 and "CLASS is one of text_relocations, writable" in text and "threads" in text
    code, text = check(tmp_path / "bad.so", "-config", write(tmp_path, "plugins: {bad: {findings: [exit=never]}}"))
    assert code == 2 and "plugins.bad.findings: must be CLASS=allow" in text


def test_flood_of_one_class_hides_nothing_of_another(build):
    many = "".join(f"int e{i:04};" for i in range(3000))
    code, text = check(build("loud", code=f"{many} void *keep(void) {{ return _exit; }}", flags=["-fvisibility=default"]))
    assert code == 0 and re.search(r"^allow +exports: exports e\d{4}, .* and 29\d\d more besides", text, re.M) and "isolate   exit: " in text
    assert len(text.splitlines()) < 6


def test_who_may_write_the_file(build, tmp_path):
    path = build("open")
    os.chmod(path, 0o666)
    assert check(path) == (1, "refuse    writable: everybody may write to it (chmod o-w)\n"
                              f"refused   {path}: everybody may write to it (chmod o-w)\n")
    os.chmod(path, 0o644)
    os.chmod(path.parent, 0o777)
    code, text = check(path)
    assert code == 1 and f"its directory {path.parent} is writable by all" in text
    os.chmod(path.parent, 0o1777)  # as /tmp: nobody can replace what is not his
    assert check(path)[0] == 0
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
        code, text = check(path)
        assert code == 0 and "allow     owner: belongs to user 65534" in text


def test_refused_code_never_runs_in_the_server(build, serve, tmp_path):
    """Grants and routes are looked at by what the probe saw."""
    def noted(where):
        return ('__attribute__((constructor)) static void here(void) { FILE *f = fopen("%s", "a"); fprintf(f, "%%d\\n", (int)getpid()); fclose(f); }'
                % (tmp_path / where))

    build("aaa", code=noted("aaa"), route="GET /same/{a}")
    build("second", code=noted("second"), route="GET /same/{b}")
    build("greedy", code=noted("greedy"), more=', .grants = "net:api.example.com"')
    s = serve(listed='  hello: {}\n  aaa: {}\n  second: {}\n  greedy: {grants: "store:greedy_*"}\n')
    assert "asks for the grant net:api.example.com" in module(s, "greedy")["error"] and s.get("/same/x").json() == 1
    assert "route GET /same/{b} clashes with GET /same/{a} of module aaa" in module(s, "second")["error"]
    ran = {name: {int(line) for line in (tmp_path / name).read_text().split()} for name in ("aaa", "second", "greedy")}
    assert all(ran.values()) and [name for name in ran if s.process.pid in ran[name]] == ["aaa"]


# ---- grants and signatures ----
def test_grants_beyond_what_the_operator_allows_are_refused(build, serve, tmp_path):
    path = build("greedy", more=', .grants = "store:greedy_rows net:api.example.com"')
    less = write(tmp_path, 'plugins: {greedy: {grants: "store:greedy_*"}}')
    assert check(path)[0] == 0
    code, text = check(path, "-config", less)
    assert code == 1 and "refused   asks for the grant net:api.example.com, which plugins.greedy.grants does not allow" in text
    assert "asks for the grant store:greedy_rows" in check(path, "-config", write(tmp_path, 'plugins: {greedy: {grants: ""}}'))[1]
    assert "plugins.greedy.grants: `stores:x` is not store:" in check(path, "-config", write(tmp_path, "plugins: {greedy: {grants: stores:x}}"))[1]
    s = serve(listed='  greedy: {enabled: true, grants: "store:greedy_* net:*"}\n')
    assert s.get("/greedy").json() == 1
    build("greedy", more=', .grants = "publish:everything.*"')
    assert "asks for the grant publish:everything.*" in act(s, "greedy", status=422)["detail"]


def page(command):
    """The line of docs/loading.md that begins so."""
    with open(f"{ROOT}/docs/loading.md") as f:
        return re.search(rf"^    ({re.escape(command)}.*?)(?:  # .*)?$", f.read(), re.M).group(1)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """An Ed25519 key pair, made as docs/loading.md says: the directory of key.pem, and the public key as base64."""
    directory = tmp_path_factory.mktemp("keys")
    subprocess.run(page("openssl genpkey"), shell=True, check=True, capture_output=True, cwd=directory)
    return directory, subprocess.run(page("openssl pkey -in"), shell=True, check=True, capture_output=True, text=True, cwd=directory).stdout.strip()


def sign(path, directory):
    """The page's command, with its key and its notes.so."""
    shutil.copy(path, directory / "notes.so")
    subprocess.run(page("openssl pkeyutl"), shell=True, check=True, capture_output=True, cwd=directory)
    shutil.copy(directory / "notes.so.sig", f"{path}.sig")


def test_signatures(build, serve, keys, tmp_path):
    key, public = keys
    path = build("signed")
    sign(path, key)
    os.makedirs(tmp_path / "plugins", exist_ok=True)
    shutil.copy(f"{BUILD}/test-plugins/hello.so", tmp_path / "plugins")
    sign(tmp_path / "plugins" / "hello.so", key)
    other = base64.b64decode(public)[::-1].hex()  # hex is good too; of several keys one must fit
    s = serve("signed", more=f'  trusted_keys: ["{other}", "{public}"]\n  signature_policy: refuse\n')
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


def test_check_plugin_from_the_command_line(build, tmp_path):
    hello = f"{BUILD}/test-plugins/hello.so"
    assert check(hello) == (0, "plugin    hello 1.0.0\ngood      it would be loaded\n")
    code, text = check(hello, "-o", "json")
    said = json.loads(text)
    assert code == 0 and said["good"] and said["reason"] is None and said["findings"] == [] and not said["for_ever"]
    assert said["plugin"]["name"] == "hello" and {"kind": "route", "name": "GET /hello"} in said["plugin"]["entries"]
    assert said["sha256"] == hashlib.sha256(open(hello, "rb").read()).hexdigest()
    code, text = check(build("sticky", flags=["-fvisibility=hidden", "-Wl,-z,nodelete"]), "-o", "json")
    said = json.loads(text)
    assert code == 0 and said["for_ever"] and [(f["class"], f["policy"]) for f in said["findings"]] == [("nodelete", "pin")]
    for path, says in [(tmp_path / "absent.so", "No such file"), (tmp_path, "is called NAME.so"), ("/dev/null", "is called NAME.so")]:
        code, text = check(path, "-o=json")
        assert code == 1 and says in json.loads(text)["reason"] and json.loads(text)["plugin"] is None
    assert check(build("named", into=tmp_path / "other.so"))[1].splitlines()[-1].startswith("refused   names itself `named`")
    assert check(build("future", code=needs('"sl.store", 2')))[1].endswith(
        "refused   needs sl.store 2, this host offers 1: upgrade appserver\n")
    assert check(hello, "-o", "yaml")[0] == 2 and check(hello, "-check-plugins")[0] == 2


def test_check_plugin_against_an_installation(build, tmp_path):
    build("there", version="1.4.0", route="GET /there/{id}")
    config = ("-config", write(tmp_path, f"modules: {{dirs: [{tmp_path}/plugins]}}\nplugins: {{there: {{}}}}\n"))

    def said(name, **how):
        return check(build(name, into=tmp_path / (name + ".so"), **how), *config)

    code, text = said("clasher", route="GET /there/{other}")
    assert code == 1 and "refused   route GET /there/{other} clashes with GET /there/{id} of module there" in text
    assert "clashes with GET /livez of module system" in said("clasher", route="GET /livez")[1]
    assert said("there", version="1.5.0", route="GET /there/{id}")[0] == 0, "its own next version does not clash"
    assert said("needy", code=needs('"there", 1'))[0] == 0
    assert "needs there 2, version 1.4.0 is installed" in said("needy", code=needs('"there", 2'))[1]
    assert "needs absent, which is not installed" in said("needy", code=needs('"absent", 1'))[1]


@pytest.mark.skipif(SANITIZED, reason="sanitizers add symbols")
def test_plugins_of_the_installation_have_no_findings():
    for path in sorted(glob.glob(f"{BUILD}/plugins/*.so")):
        code, text = check(path, "-o", "json")
        assert code == 0 and json.loads(text)["findings"] == [], text
