"""test_disk.py - a full disk and a failing fsync: nothing that was acknowledged is lost, nothing is acknowledged that is not there, and it goes on by itself."""
import errno
import os
import subprocess
import threading
import pytest
import requests
from faults import Faults
from server import TOKEN
from test_crash import every_account


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 40 MiB with a filler of 16 MiB that can be removed."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(place)], capture_output=True).returncode:
        pytest.skip("mounting a tmpfs needs root")
    (place / "filler").write_bytes(bytes(16 << 20))
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def write(server, acknowledged, n, threads=8):
    """Accounts by several clients; what was acknowledged, and the other answers."""
    lock, others = threading.Lock(), []

    def go(worker):
        session = requests.Session()
        for i in range(n):
            owner = f"{worker}-{i}-" + "x" * 200
            answer = session.post(server.url + "/accounts", json={"owner": owner}, timeout=30, headers={"Authorization": "Bearer " + TOKEN})
            with lock:
                if answer.status_code == 201:
                    acknowledged[answer.json()["id"]] = owner
                else:
                    others.append((answer.status_code, answer.headers.get("Retry-After"), answer.text))
                    if len(others) > 40:
                        return

    workers = [threading.Thread(target=go, args=(w,)) for w in range(threads)]
    [w.start() for w in workers]
    [w.join() for w in workers]
    return others


def assert_there(server, acknowledged):
    found = every_account(server)
    missing = [i for i, owner in acknowledged.items() if found.get(i) != owner]
    assert not missing, f"{len(missing)} of {len(acknowledged)} acknowledged writes are gone"


def test_full_disk_refuses_writes_and_goes_on_when_there_is_room(small_disk, start):
    server, acknowledged = start(f"sqlite:{small_disk}/full.db", env={"LOG_LEVEL": "error"}), {}
    others = write(server, acknowledged, 3000)
    assert len(acknowledged) > 100 and others, "the disk did not get full"
    assert {(status, bool(retry)) for status, retry, _ in others} == {(503, True)}, others[:3]
    assert server.get("/livez", token=None).status_code == 200
    assert_there(server, acknowledged)
    os.unlink(small_disk / "filler")
    assert not write(server, acknowledged, 20), "there is room again"
    server.kill()
    server.start()
    assert_there(server, acknowledged)
    print(f"{len(acknowledged)} acknowledged, {len(others)} refused with 503")


def test_failing_fsync_acknowledges_nothing(tmp_path, start):
    faults, acknowledged = Faults(tmp_path), {}
    server = start(f"sqlite:{tmp_path}/sync.db", env={"LOG_LEVEL": "error", **faults.env})
    assert not write(server, acknowledged, 20)
    before = len(acknowledged)
    faults.fsync(errno.EIO)
    others = write(server, acknowledged, 5)
    assert len(acknowledged) == before and len(others) == 40 and faults.fsyncs_failed() > 0
    assert all(status >= 500 for status, _, _ in others), others[:3]
    assert_there(server, acknowledged)
    faults.fsync(0)
    assert not write(server, acknowledged, 20), "fsync works again"
    server.kill()
    server.start()
    assert_there(server, acknowledged)
    assert len(every_account(server)) == len(acknowledged), "a write that was refused is there all the same"
