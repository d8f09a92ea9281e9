"""test_tutorial.py - docs/tutorial.md as it stands: from `make install` to a plugin that is replaced while it serves."""
import os
import subprocess
import pytest
from pages import Page
from server import BUILD, ROOT, free_port

FILES = {"c": "notes.c", "sql": "migrations/notes/0001_notes.sql"}


@pytest.mark.skipif(os.path.basename(BUILD) != "build", reason="installs the plain build")
def test_the_tutorial_from_the_top(tmp_path):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", "SAN", "SL_", "CC")) and k not in ("PREFIX", "DESTDIR")}
    environment.update(HOME=str(tmp_path), PORT=str(free_port()), XDG_RUNTIME_DIR=str(tmp_path))
    page = Page("docs/tutorial.md", FILES)
    assert len(page.expected) >= 5
    text = page.run(tmp_path, 240, cwd=ROOT, env=environment)
    assert "warning" not in text, "the page's code compiles without a warning"
    version = subprocess.run([f"{tmp_path}/service-layer/bin/appserver", "-version"], capture_output=True, text=True, check=True).stdout
    modversion = subprocess.run(["pkg-config", "--modversion", "service-layer"], capture_output=True, text=True, check=True,
                                env=dict(environment, PKG_CONFIG_PATH=f"{tmp_path}/service-layer/lib/pkgconfig")).stdout
    assert modversion.strip() in version
