"""server.py - starts an appserver for a test on a free loopback port and talks to it."""
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
import requests

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
APPSERVER = os.environ.get("APPSERVER", os.path.join(ROOT, "appserver"))
BUILD = os.environ.get("BUILD", os.path.join(ROOT, "build"))
# How a configuration begins that has the tests' own plugins beside those of the product.
TEST_MODULES = f"""modules:
  dirs: ["{BUILD}/plugins", "{BUILD}/test-plugins"]
  migration_dirs: ["{ROOT}/migrations", "{ROOT}/tests/contract/plugins/migrations"]"""
TOKEN, ADMIN = "test-token", "test-admin-token"
KEY = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def until(what, seconds=20):
    """What what() gives as soon as that is true."""
    end = time.monotonic() + seconds
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < end, f"not so after {seconds} s"
        time.sleep(0.03)


class Server:
    """One appserver process. `log` is its standard error so far; stop() is SIGTERM and checks the exit code."""

    def __init__(self, dsn="", env=None, args=(), config=None, wait=True, port=None, name="server"):
        self.dir = tempfile.mkdtemp(prefix="sl-test-")
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.session = requests.Session()
        self.log_path = os.path.join(self.dir, name + ".log")
        self.env = {"PATH": os.environ["PATH"], "HOME": self.dir, "XDG_RUNTIME_DIR": self.dir, "TZ": "UTC",
                    "API_TOKENS": TOKEN, "ADMIN_TOKENS": ADMIN, "SECRET_ENCRYPTION_KEY": KEY,
                    "OUTBOUND_ALLOW_PRIVATE": "true", "LOG_LEVEL": "info",
                    "LIMITS_ADDRESS": "0", "SERVER_CHECK_ANSWERS": os.environ.get("CHECK_ANSWERS", "false"), "MODULES_ISOLATION": os.environ.get("SL_ISOLATION", "none")}
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS"):
            if name in os.environ:
                self.env[name] = os.environ[name]
        self.env.update(env or {})
        self.env = {k: v for k, v in self.env.items() if v is not None}
        self.args = [APPSERVER, "-addr", f"127.0.0.1:{self.port}"]
        if dsn:
            self.args += ["-dsn", dsn]
        if config is not None:
            path = os.path.join(self.dir, "config.yaml")
            with open(path, "w") as f:
                f.write(config)
            self.args += ["-config", path]
        self.args += list(args)
        self.process = None
        self.children_crash = False  # a test that crashes plugins on purpose: sanitizers report those; the server's own end by their exit code
        self.start(wait)

    def start(self, wait=True):
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen(self.args, cwd=self.dir, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(f"appserver ended with {self.process.returncode}:\n{self.log}")
            try:
                if requests.get(self.url + "/readyz", timeout=2).status_code == 200:
                    return
            except requests.RequestException:
                pass
            time.sleep(0.02)
        raise AssertionError(f"not ready after {seconds} s:\n{self.log}")

    @property
    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def said(self, *parts, seconds=15):
        """The first log line that holds all parts; lines are written a moment after the answer they belong to."""
        end = time.monotonic() + seconds
        while True:
            for line in self.log.splitlines():
                if all(part in line for part in parts):
                    return line
            if time.monotonic() > end:
                raise AssertionError(f"no log line with {parts} after {seconds} s:\n{self.log[-4000:]}")
            time.sleep(0.02)

    def under_way(self, n, seconds=15):
        """Waits until n requests besides its own are being served."""
        end = time.monotonic() + seconds
        while True:
            text = self.get("/metrics", token=None).text
            found = int(float(re.search(r"^http_requests_in_flight (\S+)$", text, re.M).group(1))) - 1
            if found >= n:
                return
            assert time.monotonic() < end, f"{found} of {n} requests under way after {seconds} s"
            time.sleep(0.01)

    def request(self, method, path, token=TOKEN, tenant=None, headers=None, timeout=30, **more):
        headers = dict(headers or {})
        if token:
            headers.setdefault("Authorization", "Bearer " + token)
        if tenant:
            headers["X-Tenant-ID"] = tenant
        url = path if path.startswith("http") else self.url + path
        return self.session.request(method, url, headers=headers, timeout=timeout, allow_redirects=False, **more)

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def post(self, path, json=None, **more):
        return self.request("POST", path, json=json, **more)

    def put(self, path, json=None, **more):
        return self.request("PUT", path, json=json, **more)

    def patch(self, path, json=None, **more):
        return self.request("PATCH", path, json=json, **more)

    def delete(self, path, **more):
        return self.request("DELETE", path, **more)

    def admin(self, method, path, **more):
        return self.request(method, path, token=ADMIN, **more)

    def account(self, owner="alice", **more):
        """Creates an account and returns its id."""
        answer = self.post("/accounts", json={"owner": owner}, **more)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def until(self, path, done, seconds=20, **more):
        """Polls GET path until done(body); returns the body."""
        end = time.monotonic() + seconds
        while True:
            answer = self.get(path, **more)
            if answer.status_code == 200 and done(answer.json()):
                return answer.json()
            if time.monotonic() > end:
                raise AssertionError(f"{path} after {seconds} s: {answer.status_code} {answer.text}")
            time.sleep(0.03)

    def kill(self):
        """kill -9, as a crash or the out-of-memory killer would."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        if self.process:
            self.process.wait()

    def stop(self, seconds=30):
        if self.process is None or self.process.poll() is not None:
            code = self.process.returncode if self.process else 0
        else:
            self.process.send_signal(signal.SIGTERM)
            try:
                code = self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"did not stop within {seconds} s:\n{self.log[-4000:]}")
        log = self.log
        assert code == 0, f"exit code {code}:\n{log[-6000:]}"
        for word in () if self.children_crash else ("AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "runtime error:"):
            assert word not in log, log[-8000:]
        misfits = [line for line in log.splitlines() if "an answer is not what the plugin's table says" in line]
        assert not misfits, misfits
