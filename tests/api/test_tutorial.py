"""test_tutorial.py - docs/tutorial.md as it stands: from `make install` to a plugin that is replaced while it serves."""
import os
import re
import subprocess
import pytest
from server import BUILD, ROOT, free_port

FILES = {"c": "notes.c", "sql": "migrations/notes/0001_notes.sql"}


@pytest.mark.skipif(os.path.basename(BUILD) != "build", reason="installs the plain build")
def test_the_tutorial_from_the_top(tmp_path):
    with open(os.path.join(ROOT, "docs/tutorial.md")) as f:
        blocks = re.findall(r"^```(\w+)\n(.*?)^```", f.read(), re.M | re.S)
    script, expected, step = "set -euo pipefail\n", {}, 0
    for language, text in blocks:
        if language == "bash":
            step += 1
            script += f"printf '\\n== {step}\\n'\n{text}"
        elif language in FILES:
            script += f"cat > {FILES[language]} <<'END-OF-BLOCK'\n{text}END-OF-BLOCK\n"
        else:
            expected[step] = text
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", "SAN", "SL_", "CC")) and k not in ("PREFIX", "DESTDIR")}
    environment.update(HOME=str(tmp_path), PORT=str(free_port()), XDG_RUNTIME_DIR=str(tmp_path))
    with open(tmp_path / "out", "w") as out:  # a file: what goes on in the background would hold a pipe open
        done = subprocess.run(["timeout", "-k", "5", "240", "bash", "-c", script], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    text = (tmp_path / "out").read_text()
    log = tmp_path / "notes" / "server.log"
    assert done.returncode == 0, text + (log.read_text() if log.exists() else "")
    steps = dict(zip(range(1, step + 1), re.split(r"\n== \d+\n", text)[1:]))
    assert len(steps) == step and len(expected) >= 5
    for number, wanted in expected.items():
        assert steps[number].endswith(wanted), f"block {number} printed\n{steps[number]}\nand the page says\n{wanted}"
    assert "warning" not in text, "the page's code compiles without a warning"
    version = subprocess.run([f"{tmp_path}/service-layer/bin/appserver", "-version"], capture_output=True, text=True, check=True).stdout
    modversion = subprocess.run(["pkg-config", "--modversion", "service-layer"], capture_output=True, text=True, check=True,
                                env=dict(environment, PKG_CONFIG_PATH=f"{tmp_path}/service-layer/lib/pkgconfig")).stdout
    assert modversion.strip() in version
