"""conftest.py - fixtures of the contract tests: plugins made in a test, and servers that load them from a directory of their own."""
import os
import pytest
import reloads
import traps


@pytest.fixture
def build(tmp_path):
    """build(name, ...) compiles into the server's directory, in place of what is there; into= names another file."""
    os.makedirs(tmp_path / "plugins", exist_ok=True)

    def make(name, into=None, **how):
        return traps.compile_plugin(tmp_path / (name + (".cc" if how.get("cxx") else ".c")), into or tmp_path / "plugins" / (name + ".so"), name, **how)

    return make


@pytest.fixture
def serve(tmp_path):
    """serve(name, ...) starts a server with `hello` and these; listed= replaces the lines below `plugins:`."""
    servers = []

    def go(*names, more="", **options):
        s = reloads.start(str(tmp_path), "", more, plugins=("hello",), enabled=("hello",) + names, **options)
        servers.append(s)
        return s

    yield go
    for s in servers:
        s.stop()
