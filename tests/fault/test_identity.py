"""test_identity.py - tokens while the database is away: believed for a while, then refused with 503, and good again after it."""
import time

BELIEVED = 30  # seconds


def test_tokens_while_the_database_is_away(start, postgres):
    server = start(postgres.database())
    token = server.admin("POST", "/admin/tokens", json={"name": "t", "tenants": ["acme"]}).json()["token"]
    unheard = server.admin("POST", "/admin/tokens", json={"name": "u", "tenants": ["acme"]}).json()["token"]
    assert server.get("/system/limits", token=token).status_code == 200
    away = time.monotonic()
    postgres.stop()
    try:
        assert server.get("/system/limits", token=unheard).status_code == 503  # only the store knows it
        seen = server.get("/system/limits", token=token).status_code
        if time.monotonic() - away < BELIEVED / 2:
            assert seen == 200
        while server.get("/system/limits", token=token).status_code != 503:
            assert time.monotonic() - away < 4 * BELIEVED, "a token is believed for ever"
            time.sleep(0.5)
        assert time.monotonic() - away > BELIEVED / 2
        assert server.get("/system/limits").status_code == 200  # tokens of the configuration need no store
        assert server.get("/livez", token=token).status_code == 200
    finally:
        postgres.start()
    end = time.monotonic() + 60
    for known in (token, unheard):
        while server.get("/system/limits", token=known).status_code != 200:
            assert time.monotonic() < end, "the token never worked again"
            time.sleep(0.2)
