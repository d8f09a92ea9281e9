"""test_abi.py - the contract only grows: abi.h against the pictures of its releases, and as C11 and C++17 without warnings."""
import glob
import json
import os
import subprocess
import pytest
from abi_picture import compare, picture

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
HEADER = os.path.join(ROOT, "include", "service_layer", "abi.h")
RELEASES = sorted(glob.glob(os.path.join(HERE, "abi", "*.json")))


def text():
    with open(HEADER) as f:
        return f.read()


@pytest.mark.parametrize("release", RELEASES, ids=os.path.basename)
def test_header_is_an_append_to_each_release(release):
    with open(release) as f:
        assert compare(json.load(f), picture(text())) == []


def test_picture_is_whole():
    """Every name that the header declares is in the picture, so nothing can change unseen."""
    p = picture(text())
    for table in ("core", "store", "bus", "jobs", "http", "metrics", "crypto", "host", "plugin", "entry", "lifecycle", "rows"):
        assert len(p["struct sl_" + table]) >= 3, table
    assert len(p["struct sl_core"]) >= 17 and len(p["enum"]) >= 43


@pytest.mark.parametrize("change", [
    ("uint32_t n_entries, n_metrics", "uint32_t n_metrics, n_entries"),                    # order
    ("const char *scope; ", "const char *scope, *owner; "),                              # in the middle
    ("SL_EBUSY = -7", "SL_EBUSY = -8"),                                                    # value
    ("typedef int32_t sl_err", "typedef int64_t sl_err"),                                  # type
    ("uint64_t kind; /* enum sl_kind */", "uint32_t kind;"),                               # size
    ("sl_err (*commit)(sl_call *c);", ""),                                                 # removal
    ("sl_err (*sleep)(sl_call *c, uint32_t ms);", "sl_err (*sleep)(sl_call *c, uint64_t ms);"),  # signature
    ("const char *p;\n    size_t n;\n} sl_str;", "const char *p;\n    size_t n, room;\n} sl_str;"),
    ("SL_IDEMPOTENT = 4u", "SL_IDEMPOTENT = 16u"),
    ("SL_ROUTE = 1,", "SL_ROUTE = 2,"),
    ("#define SL_MAJOR 1u", "#define SL_MAJOR 2u"),
    ("extern SL_EXPORT const sl_plugin sl_plugin_v1", "extern SL_EXPORT const sl_plugin sl_plugin_v2"),
])
def test_a_break_is_noticed(change):
    old, new = change
    assert old in text(), f"the header no longer says `{old}`: choose another change"
    assert compare(picture(text()), picture(text().replace(old, new, 1)))


@pytest.mark.parametrize("change", [
    ("const char *problems;", "const char *problems; uint64_t colour;"),
    ("SL_SENSITIVE = 8u", "SL_SENSITIVE = 8u, SL_SERIAL = 16u"),
    ("    const sl_crypto *crypto;\n", "    const sl_crypto *crypto;\n    const void *kv;\n"),
    ("#define SL_MINOR 0u", "#define SL_MINOR 1u"),
    ("/* ---- what the host offers", "typedef struct sl_kv { uint32_t size, version; } sl_kv;\n/* ---- what the host offers"),
])
def test_an_append_is_allowed(change):
    old, new = change
    assert old in text(), f"the header no longer says `{old}`: choose another change"
    assert compare(picture(text()), picture(text().replace(old, new, 1))) == []


@pytest.mark.parametrize("compiler", [
    ["cc", "-std=c11", "-xc", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wstrict-prototypes"],
    ["c++", "-std=c++17", "-xc++", "-Wall", "-Wextra", "-Wshadow"],
], ids=["c11", "c++17"])
@pytest.mark.parametrize("header", ["abi.h", "plugin.h", "fields.h", "json.h"])
def test_header_compiles_alone(compiler, header):
    done = subprocess.run(compiler + ["-Werror", "-fsyntax-only", "-I", os.path.join(ROOT, "include"), "-"],
                          input=f"#include <service_layer/{header}>\nint nothing;\n", text=True, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
