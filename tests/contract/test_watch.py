"""test_watch.py - modules.watch: files put into the plugin directory are loaded by themselves, bad ones change nothing; what killed servers leave is swept."""
import os
import signal
import subprocess
import time
import pytest
from server import ROOT, Server, until

PLUGIN = '''#include <service_layer/plugin.h>
static sl_err run(void *self, sl_call *c) { (void)self; return sl_reply_json(c, 200, SL("\\"VERSION\\"")); }
static const sl_entry entries[] = { { SL_ROUTE, "GET /NAME", run } };
NEEDS
SL_PLUGIN("NAME", "VERSION", SL_ENTRIES(entries)MORE);
'''


def compiled(place, name, version="1.0.0", needs=""):
    """The path of a compiled plugin that does not lie in the watched directory."""
    text = PLUGIN.replace("NEEDS", f'static const sl_need needs[] = {{ {{ "{needs}", 1, 0 }} }};' if needs else "")
    text = text.replace("MORE", ", SL_NEEDS(needs)" if needs else "").replace("VERSION", version).replace("NAME", name)
    (place / "p.c").write_text(text)
    out = place / f"{name}-{version}"
    subprocess.run(["cc", "-shared", "-fPIC", "-fvisibility=hidden", "-I", f"{ROOT}/include", "-o", str(out), str(place / "p.c")], check=True, timeout=60)
    return out


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    place = tmp_path_factory.mktemp("watch")
    os.makedirs(place / "plugins")
    os.rename(compiled(place, "one"), place / "plugins/one.so")
    server = Server(config=f'modules:\n  dirs: ["{place}/plugins"]\n  isolation: none\n  watch: true\n  rollback_window: 0s\n'
                           'plugins:\n  one: {}\n  above: {}\n  late: {}\n')
    server.place = place
    yield server
    server.stop()


def show(server, name):
    return server.admin("GET", f"/admin/modules/{name}").json()


def test_changed_file_is_loaded_and_a_touched_one_is_not(watched):
    one = watched.place / "plugins/one.so"
    os.rename(compiled(watched.place, "one", "2.0.0"), one)
    until(lambda: watched.get("/one").json() == "2.0.0")
    module = show(watched, "one")
    assert module["generations"][0]["number"] == 2 and module["last_change"]["good"]
    assert watched.said("module changed", "module=one", 'by="the directory watch"', "generation 2 serves")
    os.utime(one)
    os.rename(compiled(watched.place, "one", "3.0.0"), one)  # the touch above was looked at by the time this one is loaded
    until(lambda: watched.get("/one").json() == "3.0.0")
    assert show(watched, "one")["generations"][0]["number"] == 3


def test_bad_file_changes_nothing_and_is_shown(watched):
    one = watched.place / "plugins/one.so"
    before = show(watched, "one")["generations"][0]["number"]
    (watched.place / "bad").write_bytes(b"\x7fELF" + b"no library" * 100)
    os.rename(watched.place / "bad", one)
    until(lambda: [f for f in show(watched, "one")["generations"][0]["findings"] if "The file now in place was refused" in f["text"]])
    module = show(watched, "one")
    assert module["generations"][0]["number"] == before and module["status"] == "started" and not module["last_change"]["good"]
    assert watched.get("/one").status_code == 200 and watched.said("module changed", "module=one", "not done")
    os.rename(compiled(watched.place, "one", "4.0.0"), one)
    until(lambda: watched.get("/one").json() == "4.0.0")
    assert not [f for f in show(watched, "one")["generations"][0]["findings"] if "refused" in f["text"]]


def test_file_written_piece_by_piece_is_loaded_when_it_is_whole(watched):
    data = compiled(watched.place, "one", "5.0.0").read_bytes()
    with open(watched.place / "plugins/one.so", "wb", buffering=0) as f:
        for at in range(0, len(data), len(data) // 12 + 1):
            assert watched.get("/one").json() == "4.0.0"
            f.write(data[at:at + len(data) // 12 + 1])
            time.sleep(0.1)
    until(lambda: watched.get("/one").json() == "5.0.0")


def test_new_files_start_and_so_does_what_lacked_them(watched):
    plugins = watched.place / "plugins"
    os.rename(compiled(watched.place, "above", needs="late"), plugins / "above.so")
    until(lambda: "needs late" in (show(watched, "above")["error"] or ""))
    assert show(watched, "above")["status"] == "failed" and "no file late.so" in show(watched, "late")["error"]
    os.rename(compiled(watched.place, "stranger"), plugins / "stranger.so")
    os.rename(compiled(watched.place, "late"), plugins / "late.so")
    until(lambda: watched.get("/above").status_code == 200)
    assert watched.get("/late").status_code == 200 and show(watched, "above")["last_change"]["outcome"] == "started: what it needs is there"
    until(lambda: watched.admin("GET", "/admin/modules/stranger").status_code == 200)
    assert show(watched, "stranger")["status"] == "disabled" and watched.get("/stranger").status_code == 404
    assert watched.said("new plugin file", "stranger.so", "not enabled")
    assert watched.admin("POST", "/admin/modules/stranger/enable").status_code == 200 and watched.get("/stranger").status_code == 200
    os.unlink(plugins / "late.so")
    watched.said("a plugin's file is gone", "late.so")
    assert watched.get("/late").status_code == 200


def test_directories_of_killed_servers_are_swept_those_of_living_ones_are_not(tmp_path, start):
    def mine():
        return sorted(d for d in os.listdir(tmp_path) if d.startswith("service-layer-"))

    env = {"XDG_RUNTIME_DIR": str(tmp_path)}
    dead = start(env=env)
    dead.process.send_signal(signal.SIGKILL)
    dead.process.wait()
    left = mine()
    assert len(left) == 1
    (tmp_path / left[0] / "some.1.so").write_text("")
    living = start(env=env)
    young = [d for d in mine() if d not in left]
    assert left[0] in mine() and len(young) == 1  # a directory of the last minute is left alone
    for d in mine():
        os.utime(tmp_path / d, (1, 1))
    third = start(env=env)
    assert left[0] not in mine() and young[0] in mine() and len(mine()) == 2
    assert third.said("directories of killed servers removed", "directories=1")
    living.stop()
    third.stop()
    assert mine() == []
