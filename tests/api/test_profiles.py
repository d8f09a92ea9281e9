"""test_profiles.py - profiles of the running server: their form, their names, and who may take them."""
import os
import re
import subprocess
import threading
import time
import pytest
from pprof import Profile
from server import ADMIN, BUILD, TEST_MODULES, TOKEN, Server

CONFIG = f"""{TEST_MODULES}
plugins:
  bench: {{enabled: true}}
"""

pytestmark = pytest.mark.skipif("valgrind" in BUILD, reason="here signals arrive when the tool lets them, and most samples are of the tool")
# Under ThreadSanitizer too; but there the hand-over between threads is what the tests are run for.
HOST_LIBRARY_AND_PLUGIN = set() if "thread" in BUILD else {"main", "uv_run", "module_invoke", "store_query", "add_row"}


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    """A server that always has something to do."""
    s = Server(config=CONFIG, env={"DEBUG_HEAP_PERIOD": "16KiB"})
    script = tmp_path_factory.mktemp("wrk") / "post.lua"
    script.write_text(f'wrk.method = "POST"\nwrk.headers["Authorization"] = "Bearer {TOKEN}"\n'
                      'wrk.headers["Content-Type"] = "application/json"\nwrk.body = \'{"body":"text"}\'\n')
    load = subprocess.Popen(["wrk", "-t1", "-c8", "-d120s", "-s", str(script), s.url + "/bench/rows"], stdout=subprocess.DEVNULL)
    yield s
    load.kill()
    load.wait()
    s.stop()


def take(server, path):
    answer = server.admin("GET", path, timeout=120)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/octet-stream" and answer.headers["Cache-Control"] == "no-store"
    return Profile(answer.content)


def test_a_cpu_profile_names_host_library_and_plugin_functions(busy):
    end, names = time.monotonic() + 60, set()
    while not names or not HOST_LIBRARY_AND_PLUGIN <= names:
        assert time.monotonic() < end, names
        profile = take(busy, "/debug/pprof/profile?seconds=1")
        names |= profile.names()
    assert profile.types == [("samples", "count"), ("cpu", "nanoseconds")] and profile.period == 10000000
    assert profile.duration >= 900000000 and all(values == [1, 10000000] for _, values in profile.samples)
    assert any(f.endswith("/appserver") and build for f, build in profile.files.items())
    deepest = max(profile.samples, key=lambda s: len(s[0]))[0]
    assert len(deepest) > 5 or not HOST_LIBRARY_AND_PLUGIN


def test_a_heap_profile_names_those_who_hold_memory(busy):
    if os.path.basename(BUILD) != "build":
        pytest.skip("this build's allocator is the sanitizer's or valgrind's")
    end = time.monotonic() + 60
    while True:  # the store is in memory: every row that is written stays
        profile = take(busy, "/debug/pprof/heap")
        held = [values for stack, values in profile.samples if "add_row" in stack]
        if sum(space for _, space in held) > 500000:
            break
        assert time.monotonic() < end, profile.names()
        time.sleep(0.2)
    assert profile.types == [("inuse_objects", "count"), ("inuse_space", "bytes")] and profile.period == 16384
    with open(f"/proc/{busy.process.pid}/status") as f:
        resident = int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)) * 1024
    assert sum(space for _, (_, space) in profile.samples) < 2 * resident
    assert all(objects > 0 and space >= objects for _, (objects, space) in profile.samples)
    assert not any(name in ("malloc", "remember") for stack, _ in profile.samples for name in stack[:1])


def test_without_sampling_the_heap_profile_says_so(start):
    answer = start(env={"DEBUG_HEAP_PERIOD": "0"}).admin("GET", "/debug/pprof/heap")
    assert (answer.status_code, answer.json()["code"]) == (409, "heap_profile_off")


def test_one_profile_at_a_time_and_its_end_when_the_client_leaves(busy):
    """The next one begins only when the loop has the last one back: once it began while a pool thread still wrote that, a data race."""
    import requests
    found = []

    def begin():
        until = time.monotonic() + 40
        while not found and time.monotonic() < until:  # the one that asks below may have come first
            answer = busy.admin("GET", "/debug/pprof/profile?seconds=2")
            if answer.status_code == 200:
                found.append(Profile(answer.content))

    first = threading.Thread(target=begin)
    first.start()
    end = time.monotonic() + 20
    while True:  # until the first one has begun
        second = busy.admin("GET", "/debug/pprof/profile?seconds=1")
        if second.status_code == 409:
            break
        assert time.monotonic() < end
    assert second.json()["code"] == "profile_running"
    first.join()
    assert found
    with pytest.raises(requests.RequestException):
        requests.get(busy.url + "/debug/pprof/profile?seconds=60", headers={"Authorization": "Bearer " + ADMIN}, timeout=0.5)
    end = time.monotonic() + 20
    while busy.admin("GET", "/debug/pprof/profile?seconds=1").status_code != 200:
        assert time.monotonic() < end  # the one that nobody waits for must give way


@pytest.mark.parametrize("path", ["/debug/pprof/profile", "/debug/pprof/heap"])
def test_profiles_are_for_administrators(busy, path):
    assert busy.get(path).status_code == 403
    assert busy.get(path, token=None).status_code == 401


def test_the_length_of_a_profile_is_bounded(busy):
    for seconds in ("0", "61", "x"):
        assert busy.admin("GET", "/debug/pprof/profile?seconds=" + seconds).status_code == 422
