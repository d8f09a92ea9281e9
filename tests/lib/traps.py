"""traps.py - plugins made for a test: compiled from a few lines of C or C++, checked, loaded, looked at."""
import os
import subprocess
from server import APPSERVER, BUILD, ROOT

SANITIZED = "address" in BUILD or "thread" in BUILD
C = '''#include <service_layer/plugin.h>
#include <stdlib.h>
#include <unistd.h>
CODE
static sl_err run(void *self, sl_call *c) { (void)self; BODY; return sl_reply_json(c, 200, sl_format(c, "%lld", (long long)(VALUE))); }
static const sl_entry entries[] = { { SL_ROUTE, "PATTERN", run } };
SL_PLUGIN("NAME", "VERSION", SL_ENTRIES(entries) MORE);
'''
CXX = '''#include <service_layer/plugin.h>
CODE
static sl_err run(void *self, sl_call *c) { (void)self; BODY; return sl_reply_json(c, 200, sl_format(c, "%lld", (long long)(VALUE))); }
static const sl_entry entries[] = { { SL_ROUTE, "PATTERN", run, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 } };
extern "C" SL_EXPORT const sl_plugin sl_plugin_v1 = { sizeof(sl_plugin), SL_MAJOR, SL_MINOR, sizeof(sl_entry), sizeof(sl_metric),
    sizeof(sl_need), 1, 0, 0, 0, "NAME", "VERSION", 0, 0, 0, entries, 0, 0, 0 };
'''


def compile_plugin(source, out, name, code="", value="1", version="1.0.0", more="", flags=(), body="", cxx=False, route="GET /NAME"):
    """A plugin with one route that answers VALUE. It gets to `out` by a rename."""
    text = CXX if cxx else C
    for key, said in (("CODE", code), ("BODY", body), ("VALUE", value), ("MORE", more), ("VERSION", version), ("PATTERN", route), ("NAME", name)):
        text = text.replace(key, said)
    source.write_text(text)
    compiler = ["g++", "-std=c++17"] if cxx else ["cc", "-std=c11"]
    subprocess.run([*compiler, "-D_GNU_SOURCE", "-shared", "-fPIC", "-w", "-I", f"{ROOT}/include", "-o", f"{out}.new", source,
                    *(flags or ["-fvisibility=hidden"])], check=True, timeout=60)
    os.replace(f"{out}.new", out)
    return out


def check(path, *config):
    """What -check-plugin says, and its exit code."""
    done = subprocess.run([APPSERVER, "-check-plugin", str(path), *config], capture_output=True, text=True, timeout=60, cwd="/")
    return done.returncode, done.stdout + done.stderr


def act(server, name, action="reload", status=200):
    answer = server.admin("POST", f"/admin/modules/{name}/{action}")
    assert answer.status_code == status, answer.text
    return answer.json()


def module(server, name):
    return server.admin("GET", f"/admin/modules/{name}").json()


def findings(server, name):
    return {f["class"]: f["policy"] for f in module(server, name)["generations"][0]["findings"]}
