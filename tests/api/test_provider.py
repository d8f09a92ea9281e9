"""test_provider.py - tokens of an outside identity provider: RS256 and ES256 by its keys, its claims as roles and tenants."""
import base64
import hashlib
import hmac
import json
import os
import tempfile
import time
import pytest
from neo_wallet import openssl, raw_signature
from server import Server


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Provider:
    def __init__(self, directory):
        self.rsa, self.ec = os.path.join(directory, "rsa.pem"), os.path.join(directory, "ec.pem")
        openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", self.rsa)
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.ec)
        modulus = bytes.fromhex(openssl("rsa", "-in", self.rsa, "-modulus", "-noout").decode().strip().split("=")[1])
        point = openssl("ec", "-in", self.ec, "-pubout", "-outform", "DER")[-64:]
        self.jwks = os.path.join(directory, "jwks.json")
        self.text = json.dumps({"keys": [
            {"kty": "RSA", "use": "sig", "kid": "r1", "n": b64(modulus), "e": "AQAB"},
            {"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "e1", "x": b64(point[:32]), "y": b64(point[32:])}]})
        with open(self.jwks, "w") as f:
            f.write(self.text)

    def token(self, alg="RS256", kid=None, **claims):
        now = int(time.time())
        full = {"iss": "https://idp.example", "aud": ["other", "service-layer"], "sub": "carol", "iat": now, "exp": now + 600,
                "realm_access": {"roles": ["offline", "ops"]}, "tenants": ["acme", "globex"]} | claims
        full = {k: v for k, v in full.items() if v is not None}
        head = {"alg": alg} | ({"kid": kid} if kid else {})
        text = b64(json.dumps(head).encode()) + "." + b64(json.dumps(full).encode())
        if alg == "HS256":
            signature = hmac.new(self.text.encode(), text.encode(), hashlib.sha256).digest()
        elif alg == "RS256":
            signature = openssl("dgst", "-sha256", "-sign", self.rsa, data=text.encode())
        else:
            signature = raw_signature(openssl("dgst", "-sha256", "-sign", self.ec, data=text.encode()))
        return text + "." + b64(signature)


@pytest.fixture(scope="module")
def provider():
    with tempfile.TemporaryDirectory() as directory:
        yield Provider(directory)


@pytest.fixture(scope="module")
def one(provider):
    s = Server(config=f"""
auth:
  jwt_secret: a secret of thirty-two bytes or more
  roles: ["operator accounts:* system:read"]
  provider:
    keys: {provider.jwks}
    issuer: https://idp.example
    audience: service-layer
    role_claim: realm_access.roles
    roles: ["ops operator", "root admin"]
    role: reader
    tenant_claim: tenants
""")
    yield s
    s.stop()


def test_a_provider_tells_who_and_for_whom(one, provider):
    for token in (provider.token(), provider.token(kid="r1"), provider.token("ES256"), provider.token("ES256", kid="e1")):
        who = one.get("/auth/whoami", token=token)
        assert who.status_code == 200, who.text
        who = who.json()
        assert who["kind"] == "outside" and who["actor"] == "outside:carol" and who["role"] == "operator"
        assert who["tenants"] == ["acme", "globex"] and who["tenant"] == "acme"
    assert one.get("/accounts", token=token, tenant="globex").status_code == 200
    assert one.get("/accounts", token=token, tenant="other").json()["code"] == "tenant_forbidden"
    assert one.get("/random/public-key", token=token).status_code == 403


def test_roles_come_through_the_map_only(one, provider):
    def role(roles):
        return one.get("/auth/whoami", token=provider.token("ES256", realm_access={"roles": roles})).json()["role"]
    assert role(["root"]) == "admin" and role("ops") == "operator"
    assert role(["admin"]) == "reader" and role([]) == "reader" and role({"x": 1}) == "reader"


def test_tenants(one, provider):
    def who(tenants):
        return one.get("/accounts", token=provider.token("ES256", tenants=tenants))
    assert who("acme").status_code == 200
    for nobody in (None, [], "", ["*"], "a/b", [5], {"a": 1}):
        assert who(nobody).json().get("code") == "tenant_forbidden", nobody


def test_what_is_refused(one, provider):
    now = int(time.time())
    refused = {
        "the public keys as a secret": provider.token("HS256"),
        "another key's name": provider.token("ES256", kid="r1"),
        "an unknown key": provider.token(kid="nobody"),
        "another issuer": provider.token(iss="https://elsewhere.example"),
        "no issuer": provider.token(iss=None),
        "another audience": provider.token(aud="other"),
        "no audience": provider.token(aud=None),
        "expired": provider.token(exp=now - 60),
        "no expiry": provider.token(exp=None),
        "not yet": provider.token(nbf=now + 300),
        "no subject": provider.token(sub=None),
        "a subject for the log": provider.token(sub="carol\nlevel=error"),
        "changed": provider.token()[:-4] + "AAAA",
    }
    for what, token in refused.items():
        answer = one.get("/auth/whoami", token=token)
        assert answer.status_code == 401 and "invalid_token" in answer.headers["WWW-Authenticate"], what
    for kind in ("user", "wallet"):  # claims of our own sessions mean nothing in a provider's token
        who = one.get("/auth/whoami", token=provider.token("ES256", kind=kind, sid="x", iss="https://idp.example"))
        assert who.json()["kind"] == "outside"


def test_clocks_may_be_off_a_little(one, provider):
    now = int(time.time())
    assert one.get("/auth/whoami", token=provider.token("ES256", exp=now - 5, nbf=now + 20, iat=now + 20)).status_code == 200


def test_a_jwt_is_revoked_by_its_id(one, provider):
    token, other = provider.token(jti="one"), provider.token(jti="two")
    assert one.get("/auth/whoami", token=token).json()["token_id"] == "one"
    assert one.admin("POST", "/admin/revocations", json={"id": "one"}).status_code == 204
    refused = one.get("/auth/whoami", token=token)
    assert refused.status_code == 401 and "revoked" in refused.json()["detail"]
    assert one.get("/auth/whoami", token=other).status_code == 200


def test_keys_as_pem_and_roles_of_the_same_name(start, provider, tmp_path):
    pem = openssl("rsa", "-in", provider.rsa, "-pubout") + openssl("ec", "-in", provider.ec, "-pubout")
    (tmp_path / "keys.pem").write_bytes(pem)
    server = start(env={"AUTH_PROVIDER_KEYS": str(tmp_path / "keys.pem"), "AUTH_PROVIDER_TENANT": "shared"})
    for role, expected in (("reader", "reader"), ("admin", "user"), ("metrics", "user"), ("unheard", "user"), (None, "user")):
        who = server.get("/auth/whoami", token=provider.token(role=role, kid="keys of a PEM file have no names")).json()
        assert who["role"] == expected and who["tenant"] == "shared", who
