"""test_random.py - signed random bytes: reproducible from their signature, counted without repeats, verified by anyone."""
import base64
import concurrent.futures
import hashlib
import hmac
import json
import os
import re
import subprocess
import sys
import pytest

SEED = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"


def expand(answer):
    """The value that follows from the signature, computed here from the description alone."""
    signature = base64.b64decode(answer["signature"])
    message = (answer["request_id"].encode() + b"\0" + answer["counter"].to_bytes(8, "big") +
               int(answer["created_at_ns"]).to_bytes(8, "big") + answer["length"].to_bytes(4, "big"))
    out, block, n = b"", b"", 1
    while len(out) < answer["length"]:
        block = hmac.new(signature, block + message + bytes([n]), hashlib.sha512).digest()
        out, n = out + block, n + 1
    return out[:answer["length"]]


def check(answer):
    """What POST /random/verify wants."""
    names = ("request_id", "counter", "created_at_ns", "length", "value", "signature", "public_key")
    return {n: answer[n] for n in names}


def test_bytes_follow_from_the_signature(server):
    a = server.account()
    for length, request_id in ((1, ""), (16, "req-1"), (64, "r"), (65, "r"), (1024, "x" * 256)):
        made = server.post(f"/accounts/{a}/random", json={"length": length, "request_id": request_id})
        assert made.status_code == 201, made.text
        body = made.json()
        assert body["length"] == length and body["request_id"] == request_id and body["account_id"] == a
        assert base64.b64decode(body["value"]) == expand(body) and len(expand(body)) == length
        assert server.post("/random/verify", json=check(body)).json() == {"valid": True, "reason": None}
        assert server.get(f"/accounts/{a}/random/{body['id']}").json() == body


def test_defaults_and_limits(server):
    a = server.account()
    body = server.post(f"/accounts/{a}/random", json={}).json()
    assert body["length"] == 32 and body["request_id"] == ""
    assert server.post(f"/accounts/{a}/random", json={"request_id": "  trimmed \n"}).json()["request_id"] == "trimmed"
    for bad in ({"length": 0}, {"length": 1025}, {"length": "8"}, {"length": 1.5}, {"request_id": "x" * 257}, {"other": 1}):
        assert server.post(f"/accounts/{a}/random", json=bad).status_code == 422, bad


def test_forgeries_are_named(server):
    a = server.account()
    body = check(server.post(f"/accounts/{a}/random", json={"length": 8, "request_id": "r"}).json())
    for change in ({"counter": body["counter"] + 1}, {"created_at_ns": "1"}, {"request_id": "q"},
                   {"value": base64.b64encode(b"12345678").decode()}, {"length": 7}, {"signature": base64.b64encode(b"x" * 64).decode()},
                   {"signature": "AAAA"}, {"public_key": base64.b64encode(b"k" * 32).decode()}, {"public_key": "AAAA"}):
        answer = server.post("/random/verify", json={**body, **change})
        assert answer.status_code == 200, answer.text
        assert answer.json()["valid"] is False and answer.json()["reason"], change
    own = {k: v for k, v in body.items() if k != "public_key"}
    assert server.post("/random/verify", json=own).json()["valid"] is True


def test_the_documented_verification_runs(server):
    """docs/services.md: its program agrees with the server, on good values and on forged ones."""
    docs = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "services.md")
    program = re.search(r"```python\n(.*?)```", open(docs).read(), re.S).group(1)
    a = server.account()
    answer = server.post(f"/accounts/{a}/random", json={"length": 200, "request_id": "dé"}).json()

    def verify(body):
        return subprocess.run([sys.executable, "-c", program], input=json.dumps(body), capture_output=True, text=True, timeout=20)
    good = verify(answer)
    assert good.returncode == 0 and good.stdout == "valid\n", good.stderr
    assert verify({**answer, "counter": answer["counter"] + 1}).returncode != 0
    assert verify({**answer, "value": base64.b64encode(b"0" * 200).decode()}).returncode != 0


def test_history_is_kept_per_account(server):
    a, b = server.account(), server.account()
    made = [server.post(f"/accounts/{a}/random", json={"length": 1}).json()["id"] for _ in range(3)]
    assert [i["id"] for i in server.get(f"/accounts/{a}/random").json()["items"]] == made[::-1]
    assert server.get(f"/accounts/{b}/random").json()["items"] == []
    assert server.get(f"/accounts/{b}/random/{made[0]}").status_code == 404
    unknown = "01940000-0000-7000-8000-000000000000"
    assert server.get(f"/accounts/{unknown}/random").status_code == 404
    assert server.post(f"/accounts/{unknown}/random", json={}).status_code == 404


def test_counters_never_repeat(server):
    a = server.account()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: server.post(f"/accounts/{a}/random", json={}).json(), range(40)))
    counters = [x["counter"] for x in answers]
    assert len(set(counters)) == 40
    in_order = [x["counter"] for x in server.get(f"/accounts/{a}/random?limit=100").json()["items"]]
    assert sorted(in_order) == sorted(counters)


def test_an_idempotent_draw_is_one_draw(server):
    a = server.account()
    one = server.post(f"/accounts/{a}/random", json={"length": 4}, headers={"Idempotency-Key": "d1"})
    two = server.post(f"/accounts/{a}/random", json={"length": 4}, headers={"Idempotency-Key": "d1"})
    assert one.json() == two.json()
    assert len(server.get(f"/accounts/{a}/random").json()["items"]) == 1


def test_a_configured_key_signs(start):
    s = start(env={"RANDOM_SIGNING_KEY": SEED})
    key = s.get("/random/public-key").json()
    assert key == {"algorithm": "Ed25519", "public_key": "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=",
                   "public_key_hex": "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"}
    vector = {"request_id": "req-1", "counter": 1, "created_at_ns": "1700000000123456789", "length": 16,
              "signature": "Q/5jHgDZtVRD0hFdysMEqDcAQ6P5JqOIl4FvWUxyBwD8C+7ulo6V/bewoFeQRgbDyTCTWHk9IXyxxBRkFgTjAQ==",
              "value": "zsPI8lnIjMqIQJWbpf4CLw=="}
    assert s.post("/random/verify", json=vector).json()["valid"] is True


def test_key_and_counter_survive_a_restart(start, store, request, tmp_path):
    if store == "memory":
        pytest.skip("nothing outlives the process")
    dsn = request.getfixturevalue("postgres").database() if store == "postgres" else f"sqlite:{tmp_path}/r.db"
    s = start(dsn)
    a = s.account()
    first = s.post(f"/accounts/{a}/random", json={}).json()
    s.kill()
    s.start()
    second = s.post(f"/accounts/{a}/random", json={}).json()
    assert second["public_key"] == first["public_key"] and second["counter"] > first["counter"]
    assert s.post("/random/verify", json=check(first)).json()["valid"] is True


def test_a_malformed_key_is_said_at_the_start(start):
    s = start(env={"RANDOM_SIGNING_KEY": "not a key"})
    status = s.admin("GET", "/system/status").text
    assert "RANDOM_SIGNING_KEY cannot be used" in status + s.log
    assert "not a key" not in status + s.log
