"""test_audit_file.py - the audit log's file: full and silent disks, rotation, other hands, restarts; changing calls fail closed."""
import json
import os
import signal
import subprocess
import threading
import time
import pytest
from server import APPSERVER, until


def verify(*files):
    done = subprocess.run([APPSERVER, "-audit-verify", *map(str, files)], capture_output=True, text=True, timeout=30)
    return done.returncode, done.stdout


def lines(path):
    with open(path) as f:
        return [json.loads(line) for line in f if line.strip("\0\n")]


def requests_in(path):
    return {r["request_id"] for r in lines(path)}


def write(server):
    return server.post("/accounts", json={"owner": "x" * 100})


def accounts(server):
    n, path = 0, "/accounts?limit=500"
    while path:
        answer = server.get(path)
        assert answer.status_code == 200, answer.text
        n += len(answer.json()["items"])
        path = answer.links["next"]["url"] if "next" in answer.links else None
    return n


def open_server(start, path, **more):
    return start(env={"AUDIT_LOG_PATH": str(path), "LOG_LEVEL": "warn", **more})


@pytest.fixture
def tiny(tmp_path):
    """A file system of 1 MiB."""
    place = tmp_path / "tiny"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip("a tmpfs cannot be mounted here: " + done.stderr.strip())
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_refuses_changes_before_they_are_made_and_service_resumes(start, tiny):
    log = tiny / "audit.jsonl"
    ballast = tiny / "ballast"
    ballast.write_bytes(b"x" * (900 << 10))
    server = open_server(start, log)
    made, slowest, refused = 0, 0, None
    for _ in range(2000):
        began = time.monotonic()
        answer = write(server)
        slowest = max(slowest, time.monotonic() - began)
        if answer.status_code != 201:
            refused = answer
            break
        made += 1
    assert refused is not None and made > 20, "124 KiB hold more than 20 records and fewer than 2000"
    assert (refused.status_code, refused.json()["code"]) == (503, "audit_unavailable") and "Retry-After" in refused.headers
    assert slowest < 10
    for _ in range(20):
        assert write(server).json()["code"] == "audit_unavailable"
    assert server.get("/livez", token=None).status_code == 200
    assert accounts(server) == made, "a refused call has no effect, an answered one has"
    until(lambda: "Not ready: audit" in server.get("/readyz", token=None).text)
    assert "audit_file_up 0" in server.get("/metrics", token=None).text
    recorded = [r for r in lines(log) if r["status"] == 201]
    assert len(recorded) == made and verify(log)[0] == 0
    ballast.unlink()
    until(lambda: write(server).status_code == 201)
    until(lambda: server.get("/healthz", token=None).status_code == 200)
    server.stop()
    assert verify(log)[0] == 0
    assert log.stat().st_blocks * 512 < log.stat().st_size + 8192, "what was allocated ahead is given back"


def test_64_clients_on_a_full_disk_lose_no_record(start, tiny):
    log = tiny / "audit.jsonl"
    (tiny / "ballast").write_bytes(b"x" * (600 << 10))
    server = open_server(start, log)
    good, lock, codes = [], threading.Lock(), set()

    def client():
        import requests
        session = requests.Session()
        for _ in range(40):
            answer = session.post(server.url + "/accounts", json={"owner": "x"}, timeout=30,
                                  headers={"Authorization": "Bearer test-token"})
            with lock:
                if answer.status_code == 201:
                    good.append(answer.headers["X-Request-Id"])
                else:
                    codes.add((answer.status_code, answer.json()["code"]))

    threads = [threading.Thread(target=client) for _ in range(64)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert good and codes == {(503, "audit_unavailable")}
    assert {r["request_id"] for r in lines(log) if r["status"] == 201} == set(good) and accounts(server) == len(good)
    assert verify(log)[0] == 0


def test_a_store_on_a_full_disk_refuses_changes_too(start, tiny):
    server = start(f"sqlite:{tiny}/test.db", env={"LOG_LEVEL": "warn"})
    answer, made = None, 0
    for made in range(5000):
        answer = write(server)
        if answer.status_code != 201:
            break
    assert answer.status_code == 503, answer.text
    assert accounts(server) == made


def test_a_disk_that_does_not_answer_ends_in_503_within_the_deadline(start, tmp_path):
    """A pipe that nobody empties blocks the writer as a hanging disk does."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    server = open_server(start, pipe)
    made, answer, took = 0, None, 0
    for _ in range(2000):  # a pipe takes 64 KiB
        began = time.monotonic()
        answer = write(server)
        took = time.monotonic() - began
        if answer.status_code != 201:
            break
        made += 1
    assert (answer.status_code, answer.json()["code"]) == (503, "audit_unavailable") and made > 20
    assert "store" in answer.json()["detail"] and took < 12, "this one was done; two seconds and a busy machine"
    began = time.monotonic()
    for _ in range(20):
        assert write(server).json()["code"] == "audit_unavailable"
    assert time.monotonic() - began < 12, "once it is known nobody waits"
    done = made + 1
    assert accounts(server) == done, "the first was done and is in the store, the others did nothing"
    text, stop = b"", threading.Event()

    def drain():
        nonlocal text
        while not stop.is_set():
            try:
                text += os.read(reader, 65536)
            except BlockingIOError:
                time.sleep(0.01)

    thread = threading.Thread(target=drain)
    thread.start()
    try:
        until(lambda: write(server).status_code == 201)
        server.stop()
        time.sleep(0.1)
    finally:
        stop.set()
        thread.join()
        os.close(reader)
    found = [json.loads(line) for line in text.decode().splitlines()]
    assert [r["seq"] for r in found] == list(range(1, len(found) + 1))
    assert sum(r["status"] == 201 for r in found) == done + 1, "the line that had to wait is there"


def test_a_stop_does_not_hang_on_a_disk_that_does_not_answer(start, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    server = open_server(start, pipe)
    while write(server).status_code == 201:
        pass
    began = time.monotonic()
    server.stop(seconds=25)
    assert time.monotonic() - began < 20
    assert "the store has them" in server.log
    os.close(reader)


def test_rotation_keeps_so_many_files_and_one_chain_over_them(start, tmp_path):
    log = tmp_path / "audit.jsonl"
    server = open_server(start, log, AUDIT_FILE_MAX="64KiB", AUDIT_FILE_KEEP="3")
    ids = [write(server).headers["X-Request-Id"] for _ in range(700)]
    files = [tmp_path / f"audit.jsonl.{i}" for i in (3, 2, 1)] + [log]
    assert sorted(os.listdir(tmp_path)) == sorted(f.name for f in files)
    assert all(f.stat().st_size <= 64 << 10 and f.stat().st_mode & 0o777 == 0o600 for f in files)
    code, said = verify(*files)
    assert code == 0 and " to 700, intact" in said, said
    assert verify(files[1], files[3])[0] == 1, "a file left out shows"
    kept = [r["request_id"] for f in files for r in lines(f)]
    assert kept == ids[-len(kept):]
    assert 'audit_file_events_total{event="rotated"}' in server.get("/metrics", token=None).text


def test_a_file_in_other_hands_is_noticed_and_the_chain_goes_on(start, tmp_path):
    log = tmp_path / "audit.jsonl"
    server = open_server(start, log)
    first = write(server).headers["X-Request-Id"]
    log.unlink()
    second = write(server).headers["X-Request-Id"]
    assert requests_in(log) == {second}
    os.rename(log, tmp_path / "moved")
    log.touch()
    third = write(server).headers["X-Request-Id"]
    assert requests_in(log) == {third} and requests_in(tmp_path / "moved") == {second}
    assert verify(tmp_path / "moved", log)[0] == 0 and first not in requests_in(log)
    os.truncate(log, 0)
    fourth = write(server).headers["X-Request-Id"]
    assert requests_in(log) == {fourth} and lines(log)[0]["seq"] == 4
    for reason in ("removed", "replaced"):
        server.said("another audit file", reason)
    server.said("changed by somebody else")
    log.unlink()
    log.write_text("something else\n")
    assert write(server).json()["code"] == "audit_unavailable", "what is not ours is not written to"
    assert log.read_text() == "something else\n"
    log.unlink()
    until(lambda: write(server).status_code == 201)


def test_sighup_opens_the_file_anew_for_logrotate(start, tmp_path):
    log = tmp_path / "audit.jsonl"
    server = open_server(start, log)
    write(server)
    os.rename(log, tmp_path / "audit.old")
    server.process.send_signal(signal.SIGHUP)
    until(log.exists)
    write(server)
    assert len(lines(tmp_path / "audit.old")) == 1 and len(lines(log)) == 1
    assert verify(tmp_path / "audit.old", log)[0] == 0


def test_a_restart_goes_on_with_the_chain_and_drops_a_torn_line(start, tmp_path):
    log = tmp_path / "audit.jsonl"
    server = open_server(start, log)
    [write(server) for _ in range(3)]
    server.kill()
    assert len(lines(log)) == 3, "what was answered is in the file after kill -9"
    with open(log, "a") as f:
        f.write('{"seq":4,"prev":"')
    server = open_server(start, log)
    write(server)
    server.said("crash had cut off")
    assert [r["seq"] for r in lines(log)] == [1, 2, 3, 4] and verify(log)[0] == 0
    other = start(env={"AUDIT_LOG_PATH": str(log)}, wait=False)
    assert other.process.wait(30) == 1 and "in use by another process" in other.log


@pytest.mark.parametrize("make, words", [
    (lambda p: p.write_text("root:x:0:0\n"), "move it away"), (lambda p: p.write_text("no newline"), "move it away"),
    (lambda p: p.mkdir(), "cannot be opened"), (lambda p: p.symlink_to("/nowhere/at/all"), "cannot be opened")])
def test_a_start_with_a_file_that_is_not_an_audit_log_fails_and_leaves_it_alone(start, tmp_path, make, words):
    path = tmp_path / "file"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    server = start(env={"AUDIT_LOG_PATH": str(path)}, wait=False)
    assert server.process.wait(30) == 1 and "audit.file" in server.log and words in server.log
    assert before is None or path.read_bytes() == before
