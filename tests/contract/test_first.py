"""test_first.py - a plugin that was built against the first release of the header loads and works, in the server and in a process of its own."""
import os
import subprocess
import time
import pytest
import reloads
import traps

FIRST = os.path.join(os.path.dirname(os.path.abspath(__file__)), "abi", "1.0")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Compiled with nothing of today's tree in reach: neither its include/ nor its flags."""
    directory = tmp_path_factory.mktemp("first")
    os.mkdir(directory / "plugins")
    subprocess.run(["cc", "-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-fvisibility=hidden",
                    "-o", directory / "plugins" / "first.so", os.path.join(FIRST, "first.c")], check=True, timeout=60)
    return directory


def rows(server):
    return {row["name"]: row["what"] for row in server.get("/first").json()["items"]}


@pytest.mark.parametrize("isolation", ["none", "process"])
def test_plugin_of_the_first_release_loads_and_passes(built, isolation):
    code, text = traps.check(built / "plugins" / "first.so")
    assert code == 0 and text.startswith("plugin    first 1.0.0\n"), text
    s = reloads.start(str(built), plugins=("hello",), listed=f"  first: {{isolation: {isolation}, config: {{greeting: good day}}}}\n")
    assert traps.module(s, "first")["isolation"] == isolation
    j = s.get("/first/show/a%20b", headers={"X-First": "seen"}).json()
    assert j == {"path": "a b", "query": "5", "config": "good day", "id": 36, "method": "GET", "header": "seen", "json": "deep", "slept": 0,
                 "named": 0, "clock": 1, "count": 0, "started": 1, "generation": 1}
    assert s.get("/first/show/x?n=7").headers["X-First"] == "yes" and s.get("/first/show/x?n=y").status_code == 422
    s.said("first says hello", "plugin=first", 'word="a b"')
    assert s.get("/first/around").json() == {"fetch": -1, "ask": 0, "said": 8, "offload": 0, "n": 42, "seal": 0, "same": 1}
    made = s.post("/first", json={"name": "one"})
    assert made.status_code == 201 and made.json()["name"] == "one" and s.post("/first", json={"colour": 1}).status_code == 422
    assert s.post("/first", json={"name": "one"}).status_code == 409
    wanted, end = {"one": "posted", "one by event": "event", "one by job": "job", "nothing by schedule": "schedule"}, time.monotonic() + 20
    while rows(s) != wanted and time.monotonic() < end:
        time.sleep(0.05)
    assert rows(s) == wanted
    assert s.get("/first/stream").text == "one two" and s.get("/first/fail").json()["code"] == "first_said_no"
    text = s.get("/metrics", token=None).text
    assert 'first_calls_total{route="show"} 4' in text and "first_level 7" in text
    count = s.get("/first/show/x").json()["count"]  # of its runs: one that met another writer is run again
    traps.act(s, "first")
    j = s.get("/first/show/x").json()
    assert count >= 2 and (j["generation"], j["count"]) == (2, count), "its state was handed over"
    s.said("first stops")
    assert s.get("/readyz?verbose", token=None).status_code == 200
    s.stop()
