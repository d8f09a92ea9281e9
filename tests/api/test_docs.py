"""test_docs.py - the README's commands, run as they stand there; the plugin of docs/contract.md, built and called."""
import json
import os
import re
import signal
import subprocess
import time
import requests
from server import BUILD, ROOT


def blocks(path, language):
    with open(os.path.join(ROOT, path)) as f:
        return re.findall(r"^```" + language + r"\n(.*?)^```", f.read(), re.M | re.S)


def test_the_readme_from_the_top(tmp_path):
    run, source, story = blocks("README.md", "bash")
    expected = json.loads(blocks("README.md", "json")[0])
    environment = dict(os.environ, DATA_DIR=str(tmp_path / "data"), T="")
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "SAN", "DEBUG"):
        environment.pop(name, None)
    server = subprocess.Popen(["bash", "-c", run], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, start_new_session=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + 170
        while True:
            try:
                if requests.get("http://127.0.0.1:8080/readyz", timeout=1).status_code == 200:
                    break
            except requests.RequestException:
                pass
            assert server.poll() is None, server.stdout.read().decode()
            assert time.monotonic() < end, "make run did not come up"
            time.sleep(0.1)
        script = "set -euo pipefail\n" + source + story
        with open(tmp_path / "out", "w") as out:  # a file: the source that goes on in the background would hold a pipe open
            done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, stdout=out, stderr=out, timeout=60)
        text = (tmp_path / "out").read_text()
        assert done.returncode == 0, text
        assert json.loads(text[text.rindex('{\n  "status"'):]) == expected, text
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
        server.stdout.close()
        for line in subprocess.run(["pgrep", "-f", "http.server 9099 --bind 127.0.0.1"], capture_output=True, text=True).stdout.split():
            os.kill(int(line), signal.SIGTERM)


def test_the_plugin_of_the_contract_page(start, tmp_path):
    source = blocks("docs/contract.md", "c")[0]
    plugins, migrations = tmp_path / "plugins", tmp_path / "plugins" / "migrations" / "notes"
    migrations.mkdir(parents=True)
    (tmp_path / "notes.c").write_text(source)
    (migrations / "0001_notes.sql").write_text(blocks("docs/contract.md", "sql")[0])
    with open(os.path.join(ROOT, "docs/contract.md")) as f:
        build = re.search(r"^    (cc .*)$", f.read(), re.M).group(1)
    build = build.replace("<include>", os.path.join(ROOT, "include")).replace("-o notes.so", f"-o {plugins}/notes.so")
    if "build-address" in BUILD:
        build = build.replace("cc ", "cc -fsanitize=address,undefined ").replace("-Wl,-z,defs ", "")
    subprocess.run(build + " -Wall -Wextra -Werror", shell=True, check=True, cwd=tmp_path)
    server = start(config=f"modules: {{dirs: ['{BUILD}/plugins', '{plugins}']}}\nplugins: {{notes: {{enabled: true, required: true}}}}\n")
    made = server.post("/notes", json={"text": "remember"})
    assert made.status_code == 201, made.text
    assert server.get("/notes").json()["items"] == [made.json()]
    assert server.post("/notes", json={"text": ""}).status_code == 422
