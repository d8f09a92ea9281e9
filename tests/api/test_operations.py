"""test_operations.py - docs/operations.md as it stands, as root of a machine of its own: namespaces over this one, a PostgreSQL, a stand-in for systemd."""
import os
import shutil
import subprocess
import pytest
from pages import Page
from server import BUILD, ROOT

# What the guide writes lands in layers over these directories, which end with the namespace, as do its processes and its ports.
MACHINE = """set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs "$LAYERS"
for d in etc usr/local var; do
    upper="$LAYERS/upper/$d" work="$LAYERS/work/$d"
    mkdir -p "$upper" "$work"
    mount -t overlay overlay -o "lowerdir=/$d,upperdir=$upper,workdir=$work" "/$d"
done
mount -t tmpfs tmpfs /run
install -d -o postgres /run/postgresql
ip link set lo up
bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1) data=/var/lib/postgresql/guide
as_postgres() { (cd / && runuser -u postgres -- "$@" >>"$LAYERS/postgres" 2>&1) || { cat "$LAYERS/postgres"; exit 1; }; }
as_postgres "$bin/initdb" -D "$data" --auth-local=peer --auth-host=scram-sha-256 -E UTF8 --locale=C.UTF-8 --no-sync
as_postgres "$bin/pg_ctl" -D "$data" -w -l "$data.log" -o "-c listen_addresses=127.0.0.1 -c fsync=off" start
exec "$@"
"""


def test_the_unit_is_what_systemd_understands(tmp_path):
    """Its keys are known, and the program that it names is the one that is installed."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("there is no systemd-analyze here")
    unit = tmp_path / "service-layer.service"
    with open(os.path.join(ROOT, "packaging/service-layer.service")) as f:
        unit.write_text(f.read().replace("/usr/local/bin/appserver", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60)
    said = [line for line in (done.stdout + done.stderr).splitlines() if "service-layer" in line]
    assert not said and done.returncode == 0, done.stderr


@pytest.mark.skipif(os.path.basename(BUILD) != "build", reason="installs the plain build")
def test_the_guide_from_the_top(tmp_path):
    machine = ["unshare", "-m", "-n", "-p", "-i", "-f", "--mount-proc", "--kill-child"]
    if subprocess.run([*machine, "true"], capture_output=True).returncode != 0:
        pytest.skip("making namespaces needs root")
    for name in ("bin", "layers"):
        (tmp_path / name).mkdir()
    for name in ("systemctl", "journalctl"):
        os.symlink(os.path.join(ROOT, "tests/lib/systemctl"), tmp_path / "bin" / name)
    environment = {k: v for k, v in os.environ.items() if k in ("LANG", "TERM", "http_proxy", "https_proxy")}
    environment.update(PATH=f"{tmp_path}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", HOME=str(tmp_path), LAYERS=str(tmp_path / "layers"))
    page = Page("docs/operations.md")
    assert page.blocks > 20 and len(page.expected) > 15
    page.run(tmp_path, 150, prefix=[*machine, "bash", "-c", MACHINE, "machine"], cwd=ROOT, env=environment)
