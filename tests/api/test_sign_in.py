"""test_sign_in.py - users with passwords, wallets, sessions that are refreshed and end, and who the caller then is."""
import base64
import concurrent.futures
import hashlib
import hmac
import json
import os
import subprocess
import time
import pytest
from neo_wallet import Wallet
from server import ADMIN, APPSERVER, BUILD, until

SECRET = "a secret of thirty-two bytes or more"
PASSWORD = "correct horse"
HASH = "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e"  # cost 4: the tests are not to wait
USERS = f"alice:{HASH}:user:acme|globex,root:{HASH}:admin,reader@example.com:{HASH}:reader"
SERVER_ENV = {"AUTH_USERS": USERS, "AUTH_JWT_SECRET": SECRET, "AUTH_WALLET_ENABLED": "true"}


def login(server, user="alice", password=PASSWORD, status=200):
    answer = server.post("/auth/login", json={"username": user, "password": password}, token=None)
    assert answer.status_code == status, answer.text
    return answer.json()


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwt(claims, secret=SECRET, alg="HS256", **head):
    text = b64(json.dumps({"alg": alg, "typ": "JWT"} | head).encode()) + "." + b64(json.dumps(claims).encode())
    return text + "." + b64(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())


def claims_of(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def until_status(server, path, token, status):
    until(lambda: server.get(path, token=token).status_code == status)


def test_a_user_signs_in_and_is_who_they_are(server):
    session = login(server)
    assert session["user"] == "alice" and session["role"] == "user" and session["tenants"] == ["acme", "globex"]
    assert session["token_type"] == "Bearer" and session["refresh_token"].startswith("slr_")
    who = server.get("/auth/whoami", token=session["token"]).json()
    assert who["user"] == "alice" and who["kind"] == "user" and who["actor"] == "user:alice"
    assert who["tenant"] == "acme" and who["token_id"] == session["session"] and who["scopes"] == ["*"]
    assert who["expires_at"] == session["expires_at"]
    assert server.get("/accounts", token=session["token"], tenant="globex").status_code == 200
    assert server.get("/accounts", token=session["token"], tenant="other").json()["code"] == "tenant_forbidden"
    assert server.get("/admin/tokens", token=session["token"]).status_code == 403
    root = login(server, "root")
    assert server.get("/admin/tokens", token=root["token"], tenant="any").status_code == 200
    reader = login(server, "reader@example.com")
    assert server.post("/accounts", json={"owner": "x"}, token=reader["token"]).status_code == 403
    for secret in (session["token"], session["refresh_token"], PASSWORD, HASH):
        assert secret not in server.log


def test_sign_ins_are_audited_without_what_was_typed(start):
    server = start(env=SERVER_ENV)
    session = login(server)
    login(server, "alice", "typed-wrong", 401)
    login(server, "typed-into-the-wrong-field", "x", 401)
    def outcomes():
        return [r["outcome"] for r in server.admin("GET", "/admin/audit?contains=/auth/login").json()["items"]]
    until(lambda: len(outcomes()) >= 3)
    assert sorted(outcomes()) == [f"alice signed in, session {session['session']}", "sign-in of alice refused",
                                  "sign-in of an unknown user refused"]
    text = server.admin("GET", "/admin/audit").text
    for secret in ("typed-wrong", "typed-into-the-wrong-field", PASSWORD, session["token"], session["refresh_token"]):
        assert secret not in text


def test_whoami_of_configured_tokens_and_of_nobody(server):
    who = server.admin("GET", "/auth/whoami").json()
    assert who["role"] == "admin" and who["kind"] == "configured" and who["tenants"] == ["*"]
    assert server.get("/auth/whoami", token=None).status_code == 401
    assert server.admin("POST", "/auth/logout").json()["code"] == "no_session"


def test_wrong_passwords_and_unknown_users_look_alike(start):
    server = start(env=SERVER_ENV)
    refused = server.post("/auth/login", json={"username": "alice", "password": "wrong"}, token=None)
    assert refused.status_code == 401 and refused.headers["WWW-Authenticate"] == "Bearer"
    wrong = refused.json()
    nobody = login(server, "nobody", "wrong", 401)
    for body in (wrong, nobody):
        body.pop("trace_id")
    assert wrong == nobody and wrong["code"] == "invalid_credentials"
    for password in ("", None, 5):
        assert login(server, "alice", password, 422)["code"] == "invalid_input"
    login(server, "alice", "correct horse\x00", 401)


def test_failures_are_slowed_down_more_and_more(start):
    server = start(env=SERVER_ENV)
    seen = [server.post("/auth/login", json={"username": "alice", "password": "no"}, token=None) for _ in range(8)]
    assert [a.status_code for a in seen[:5]] == [401] * 5
    refused = seen[-1]
    assert refused.status_code == 429 and refused.json()["code"] == "too_many_failures"
    assert int(refused.headers["Retry-After"]) >= 1
    login(server, "root")  # another user from the same address is not held up
    end = time.monotonic() + 30
    while True:  # the right password works again once the delay is over
        answer = server.post("/auth/login", json={"username": "alice", "password": PASSWORD}, token=None)
        if answer.status_code == 200:
            break
        assert answer.status_code == 429 and time.monotonic() < end
        time.sleep(0.1)


def test_many_guesses_at_once_do_not_slip_through(start):
    server = start(env=SERVER_ENV)
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        seen = list(pool.map(lambda i: server.post("/auth/login", json={"username": "root", "password": f"no{i}"},
                                                   token=None).status_code, range(40)))
    assert seen.count(401) <= 12 and seen.count(401) + seen.count(429) == 40, seen


def test_a_session_is_refreshed_and_ends(server):
    first = login(server)
    answer = server.post("/auth/refresh", json={"refresh_token": first["refresh_token"]}, token=None)
    assert answer.status_code == 200, answer.text
    second = answer.json()
    assert second["session"] == first["session"] and second["refresh_token"] != first["refresh_token"]
    assert server.get("/accounts", token=second["token"]).status_code == 200
    assert server.post("/auth/logout", token=second["token"]).status_code == 204
    for token in (first["token"], second["token"]):
        assert server.get("/accounts", token=token).status_code == 401
    over = server.post("/auth/refresh", json={"refresh_token": second["refresh_token"]}, token=None)
    assert over.status_code == 401 and over.json()["code"] == "invalid_refresh_token"
    for nonsense in ("x", "slr_" + "A" * 43):
        assert server.post("/auth/refresh", json={"refresh_token": nonsense}, token=None).status_code == 401


def test_a_refresh_token_that_comes_twice_ends_the_session(server):
    first = login(server)
    second = server.post("/auth/refresh", json={"refresh_token": first["refresh_token"]}, token=None).json()
    assert server.post("/auth/refresh", json={"refresh_token": first["refresh_token"]}, token=None).status_code == 401
    server.said("a refresh token came twice", first["session"])
    assert server.get("/accounts", token=second["token"]).status_code == 401
    assert server.post("/auth/refresh", json={"refresh_token": second["refresh_token"]}, token=None).status_code == 401


def test_of_racing_refreshes_one_wins(server):
    first = login(server)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(lambda _: server.post("/auth/refresh", json={"refresh_token": first["refresh_token"]},
                                                   token=None).status_code, range(8)))
    assert seen.count(200) <= 1 and set(seen) <= {200, 401, 409, 503}, seen


def test_an_admin_revokes_a_session(server):
    session = login(server)
    assert server.get("/accounts", token=session["token"]).status_code == 200
    assert server.admin("POST", "/admin/revocations", json={"id": session["session"]}).status_code == 204
    refused = server.get("/accounts", token=session["token"])
    assert refused.status_code == 401
    assert server.post("/auth/refresh", json={"refresh_token": session["refresh_token"]}, token=None).status_code == 401


def test_an_admin_sees_and_ends_sessions(server):
    session = login(server, "root")
    listed = server.admin("GET", "/admin/sessions?subject=root").json()["items"]
    assert listed[0]["id"] == session["session"] and {s["subject"] for s in listed} == {"root"}
    assert "alice" not in json.dumps(listed) and listed[0]["revoked_at"] is None and listed[0]["kind"] == "user"
    assert server.admin("DELETE", f"/admin/sessions/{session['session']}").status_code == 204
    assert server.get("/accounts", token=session["token"]).status_code == 401
    assert server.admin("GET", "/admin/sessions?limit=500").json()["items"][0]["revoked_at"]
    assert server.admin("DELETE", "/admin/sessions/x").json()["code"] == "session_not_found"
    assert 'auth_sign_ins_total{way="password",outcome="succeeded"}' in server.get("/metrics").text


def test_users_change_while_the_server_runs(start):
    config = "auth:\n  jwt_secret: %s\n  users: [\"%s\"]\n"
    server = start(config=config % (SECRET, f"alice:{HASH}:user:acme"))
    token = login(server)["token"]
    assert server.get("/accounts", token=token).status_code == 200

    def reload(text):
        with open(os.path.join(server.dir, "config.yaml"), "w") as f:
            f.write(text)
        return server.admin("POST", "/admin/config/reload", json={})

    assert reload(config % (SECRET, f"alice:{HASH}:reader:globex")).status_code == 200
    who = server.get("/auth/whoami", token=token).json()
    assert who["role"] == "reader" and who["tenants"] == ["globex"]  # the same token, with what the configuration says now
    assert reload(config % (SECRET, f"bob:{HASH}:user")).status_code == 200
    assert server.get("/accounts", token=token).status_code == 401
    login(server, "alice", status=401)
    login(server, "bob")
    assert reload(config % (SECRET, "bob:plain:user")).status_code == 422
    login(server, "bob")


def test_forged_tokens(server):
    good = claims_of(login(server)["token"])
    assert server.get("/accounts", token=jwt(good)).status_code == 200  # so that what follows differs in one thing only
    none = b64(b'{"alg":"none"}') + "." + b64(json.dumps(good).encode()) + "."
    forged = {
        "another secret": jwt(good, secret="another secret of thirty-two bytes"),
        "none": none,
        "none, some signature": none + "AAAA",
        "HS512": jwt(good, alg="HS512"),
        "RS256 with the secret": jwt(good, alg="RS256"),
        "lower case": jwt(good, alg="hs256"),
        "critical extension": jwt(good, crit=["b64"]),
        "expired": jwt(good | {"exp": int(time.time()) - 1}),
        "no expiry": jwt({k: v for k, v in good.items() if k != "exp"}),
        "expiry is text": jwt(good | {"exp": str(good["exp"])}),
        "not yet": jwt(good | {"nbf": int(time.time()) + 600}),
        "from the future": jwt(good | {"iat": int(time.time()) + 600}),
        "another issuer": jwt(good | {"iss": "elsewhere"}),
        "unknown user": jwt(good | {"sub": "mallory"}),
        "no session": jwt({k: v for k, v in good.items() if k != "sid"}),
        "another kind": jwt(good | {"kind": "configured"}),
        "padded": jwt(good) + "=",
        "four parts": jwt(good) + ".x",
        "no claims": jwt([]),
    }
    for what, token in forged.items():
        assert server.get("/accounts", token=token).status_code == 401, what
    raised = server.get("/auth/whoami", token=jwt(good | {"role": "admin", "tenants": ["*"]})).json()
    assert raised["role"] == "user" and raised["tenants"] == ["acme", "globex"]  # the configuration says so, not the token


def test_a_token_ends_by_itself(start):
    server = start(env=SERVER_ENV | {"AUTH_TOKEN_LIFE": "10s"})
    good = claims_of(login(server)["token"])
    soon = jwt(good | {"exp": int(time.time()) + 3})
    until_status(server, "/accounts", soon, 401)
    assert "expired" in server.get("/accounts", token=soon).json()["detail"]


def test_sessions_work_in_every_replica_and_outlive_it(start, postgres):
    dsn = postgres.database()
    a, b = start(dsn, env=SERVER_ENV), start(dsn, env=SERVER_ENV)
    session = login(a)
    assert b.get("/accounts", token=session["token"]).status_code == 200
    second = b.post("/auth/refresh", json={"refresh_token": session["refresh_token"]}, token=None).json()
    assert a.post("/auth/logout", token=second["token"]).status_code == 204
    until_status(b, "/accounts", second["token"], 401)
    a.stop()
    a.start()
    assert a.get("/accounts", token=session["token"]).status_code == 401


# ---- wallets ----
def challenge(server, wallet):
    answer = server.post("/auth/wallet/challenge", json={"wallet": wallet.address}, token=None)
    assert answer.status_code == 200, answer.text
    return answer.json()


def prove(server, wallet, nonce, signature, **more):
    return server.post("/auth/wallet/login", token=None, json={
        "wallet": wallet.address, "nonce": nonce, "signature": signature, "pubkey": wallet.key.hex()} | more)


def test_a_wallet_signs_in(server):
    wallet, other = Wallet(), Wallet()
    asked = challenge(server, wallet)
    assert "service-layer" in asked["message"] and wallet.address in asked["message"] and asked["nonce"] in asked["message"]
    good = wallet.sign(asked["message"], "0123456789abcdef")
    wrong = {
        "other key": prove(server, wallet, asked["nonce"], other.sign(asked["message"])),
        "other key, told": prove(server, wallet, asked["nonce"], other.sign(asked["message"]), pubkey=other.key.hex()),
        "other salt": prove(server, wallet, asked["nonce"], good, salt="0123456789abcdee"),
        "other wallet": prove(server, other, asked["nonce"], other.sign(asked["message"])),
    }
    for what, answer in wrong.items():
        assert answer.status_code == 401 and answer.json()["code"] == "invalid_signature", what
    answer = prove(server, wallet, asked["nonce"], good, salt="0123456789abcdef")
    assert answer.status_code == 200, answer.text
    session = answer.json()
    assert session["user"] == wallet.address and session["tenants"] == [wallet.address] and session["role"] == "user"
    who = server.get("/auth/whoami", token=session["token"]).json()
    assert who["actor"] == "wallet:" + wallet.address and who["tenant"] == wallet.address
    again = prove(server, wallet, asked["nonce"], good, salt="0123456789abcdef")
    assert again.status_code == 401 and "answered already" in again.json()["detail"]
    assert server.post("/auth/refresh", json={"refresh_token": session["refresh_token"]}, token=None).status_code == 200


def test_challenges_cannot_be_made_up(server):
    wallet = Wallet()
    asked = challenge(server, wallet)
    raw = bytearray(base64.urlsafe_b64decode(asked["nonce"] + "=="))
    raw[7] ^= 1  # a later end
    forged = b64(bytes(raw))
    answer = prove(server, wallet, forged, wallet.sign(asked["message"].replace(asked["nonce"], forged)))
    assert answer.status_code == 401 and "not one of a challenge" in answer.json()["detail"]
    assert prove(server, wallet, "x", "00" * 64).status_code == 401
    for body in ({"signature": "zz" * 64}, {"signature": "00"}, {"pubkey": "05"}, {"salt": "x" * 129}, {"nonce": ""}):
        full = {"nonce": asked["nonce"], "signature": "00" * 64} | body
        assert prove(server, wallet, **full).status_code == 422, body
    for address in ("", "N", wallet.address[:-1] + ("1" if wallet.address[-1] != "1" else "2")):
        answer = server.post("/auth/wallet/challenge", json={"wallet": address}, token=None)
        assert answer.status_code == 422, address


# ---- configuration ----
@pytest.mark.parametrize("env, says", [
    ({"AUTH_USERS": "alice:plain-text:user"}, "appserver -hash-password"),
    ({"AUTH_USERS": f"alice:{HASH}"}, "NAME:BCRYPT:ROLE"),
    ({"AUTH_USERS": f"alice:{HASH}:user", "AUTH_JWT_SECRET": None}, "needs auth.jwt_secret"),
    ({"AUTH_JWT_SECRET": "short"}, "at least 32 bytes"),
    ({"AUTH_USERS": None, "AUTH_JWT_SECRET": None}, "needs auth.jwt_secret"),
    ({"AUTH_PROVIDER_KEYS": "/dev/null"}, "there is no key in it"),
])
def test_what_the_configuration_may_not_say(env, says):
    full = {k: v for k, v in ({"PATH": "/bin"} | SERVER_ENV | env).items() if v is not None}
    done = subprocess.run([APPSERVER, "-check"], env=full, capture_output=True, text=True, timeout=60, cwd="/")
    assert done.returncode != 0 and says in done.stderr, done.stderr
    assert "plain-text" not in done.stderr and "short" not in done.stderr


def test_the_command_that_makes_hashes(start):
    made = subprocess.run([APPSERVER, "-hash-password"], input="new password\n", capture_output=True, text=True, timeout=60)
    assert made.returncode == 0 and made.stdout.startswith("$2b$12$")
    for bad in ("", "\n", "x" * 73 + "\n"):
        assert subprocess.run([APPSERVER, "-hash-password"], input=bad, capture_output=True, text=True).returncode == 1
    server = start(env=SERVER_ENV | {"AUTH_USERS": f"bob:{made.stdout.strip()}:user"})
    login(server, "bob", "new password")


def test_without_configuration_nobody_signs_in(start):
    server = start()
    for path, body in (("login", {"username": "alice", "password": "x"}), ("refresh", {"refresh_token": "x"}),
                       ("wallet/challenge", {"wallet": "x" * 34})):
        answer = server.post("/auth/" + path, json=body, token=None)
        assert answer.status_code == 404 and answer.json()["code"] == "sign_in_disabled"
    assert server.get("/auth/whoami", token=ADMIN).status_code == 200


def places_in_memory(server, needle):
    """How often the process holds the bytes, in memory that can be read."""
    found = 0
    with open(f"/proc/{server.process.pid}/maps") as maps, open(f"/proc/{server.process.pid}/mem", "rb") as memory:
        for line in maps:
            where, rights = line.split()[:2]
            if not rights.startswith("rw"):
                continue
            begin, end = (int(x, 16) for x in where.split("-"))
            try:
                memory.seek(begin)
                found += memory.read(end - begin).count(needle)
            except OSError:
                pass
    return found


@pytest.mark.skipif(os.path.basename(BUILD) != "build", reason="sanitizers and valgrind keep freed memory as it was, and terabytes of their own")
def test_a_password_does_not_stay_in_memory(start):
    server = start(env=SERVER_ENV)
    secret = "unforgettable-" + base64.b32encode(os.urandom(20)).decode()
    open_route = "seen-in-memory-" + base64.b32encode(os.urandom(20)).decode()
    with server.session:
        server.post("/accounts", json={"owner": open_route})
        login(server, "alice", secret, 401)
        login(server, "alice")
    assert places_in_memory(server, open_route.encode()) > 0  # the search finds what is there
    until(lambda: places_in_memory(server, secret.encode()) == 0)
