"""conftest.py - fixtures of the API tests: a scripted server, and a slctl that talks to it."""
import pytest
from fake_api import FakeApi
from slctl import Slctl
from things import make_document


@pytest.fixture
def api():
    fake = FakeApi(make_document())
    yield fake
    fake.close()


@pytest.fixture
def slctl(api):
    return Slctl(api.url, "tok-123", SERVICE_LAYER_ACCOUNT="acme")
