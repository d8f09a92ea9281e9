"""test_children.py - what takes its time to show about plugins in child processes; the rest is in tests/contract/test_isolation.py."""
import os
import time
import pytest
from server import BUILD, ROOT

CONFIG = f"""
modules:
  dirs: ["{BUILD}/plugins", "{BUILD}/test-plugins"]
  migration_dirs: ["{ROOT}/migrations", "{ROOT}/tests/contract/plugins/migrations"]
  process_cpu: 5
plugins:
  bench: {{isolation: none}}
  bad: {{isolation: process}}
  stubborn: {{isolation: process}}
"""


def module(s, name):
    return next(m for m in s.get("/system/status").json()["modules"] if m["name"] == name)


@pytest.mark.timeout(180)
def test_a_thread_that_computes_for_ever_and_a_plugin_that_will_not_stop(start):
    s = start(config=CONFIG)
    assert s.get("/stubborn").status_code == 200 and s.get("/bad/burn").status_code == 200
    end = time.monotonic() + 120
    while module(s, "bad")["restarts"] < 1 or s.get("/bad/ok").status_code != 200:
        assert time.monotonic() < end, s.log[-3000:]
        time.sleep(0.1)
    assert "used more processor time than modules.process_cpu" in module(s, "bad")["last_crash"]
    text = s.get("/metrics", token=None).text
    for line in ('up{module="bad"} 1', 'quarantined{module="bad"} 0', 'crashes{module="bad"} 1'):
        assert "service_module_process_" + line in text
    assert module(s, "stubborn")["restarts"] == 0 and s.get("/bench/hello").status_code == 200
    pid = module(s, "stubborn")["pid"]
    s.stop(60)
    s.said("did not", "plugin=stubborn")
    try:
        with open(f"/proc/{pid}/stat") as f:
            assert f.read().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        assert not os.path.exists(f"/proc/{pid}")
