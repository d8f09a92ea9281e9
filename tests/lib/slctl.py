"""slctl.py - runs the command line client in a home of its own and compares what it prints with golden files."""
import os
import re
import subprocess
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SLCTL = os.environ.get("SLCTL", os.path.join(ROOT, "slctl"))
GOLDEN = os.path.join(ROOT, "tests", "golden", "slctl")


class Slctl:
    """slctl("accounts", "list") gives the ended process; a sanitizer's finding is an error whatever the test expects."""

    def __init__(self, url, token=None, **env):
        self.directory = tempfile.TemporaryDirectory(prefix="sl-slctl-")  # goes when this object does
        self.home = self.directory.name
        self.env = {"PATH": os.environ["PATH"], "HOME": self.home, "TZ": "UTC", "SERVICE_LAYER_ADDR": url,
                    "SERVICE_LAYER_TOKEN": token, **env}
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"):
            self.env[name] = os.environ.get(name)
        self.env = {k: v for k, v in self.env.items() if v is not None}

    def __call__(self, *args, input="", code=0, env=None, timeout=60):
        more = {k: v for k, v in {**self.env, **(env or {})}.items() if v is not None}
        p = subprocess.run([SLCTL, *args], env=more, input=input, capture_output=True, text=True, timeout=timeout,
                           start_new_session=True)  # no terminal to ask on, wherever the tests run
        for word in ("AddressSanitizer", "LeakSanitizer", "runtime error:"):
            assert word not in p.stderr, p.stderr
        assert code is None or p.returncode == code, f"{args}: {p.returncode}\n{p.stdout}\n{p.stderr}"
        return p

    def start(self, *args, **more):
        return subprocess.Popen([SLCTL, *args], env={**self.env, **more}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, start_new_session=True)


def plain(text, names=()):
    """The text without what differs from run to run; `names` are (found, put in its place)."""
    for found, instead in names:
        text = text.replace(found, instead.ljust(len(found), "."))
    text = re.sub(r"Service Layer \d+\.\d+\.\d+", "Service Layer <version>", text)
    seen = {}
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
                  lambda m: seen.setdefault(m.group(), f"<id-{len(seen) + 1}>".ljust(36, ".")), text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>", text)
    return re.sub(r"trace_id [0-9a-f]{32}", "trace_id <trace>", text)


def golden(name, text, names=()):
    """Compares with tests/golden/slctl/NAME.txt; GOLDEN=write makes the files anew."""
    path = os.path.join(GOLDEN, name + ".txt")
    text = plain(text, names)
    if os.environ.get("GOLDEN") == "write":
        os.makedirs(GOLDEN, exist_ok=True)
        with open(path, "w") as f:
            f.write(text)
    with open(path) as f:
        assert text == f.read(), f"{path} tells otherwise; GOLDEN=write accepts what there is now"
