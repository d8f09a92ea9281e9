"""http_source.py - a real HTTP server on loopback whose answers a test programs: the outside world of the oracle."""
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class HttpSource:
    def __init__(self):
        source = self
        self.lock = threading.Lock()
        self.answers, self.seen = {}, {}

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def respond(self):
                path = self.path.split("?")[0]
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length) if length else b""
                with source.lock:
                    source.seen.setdefault(path, []).append((self.command, dict(self.headers), body, self.path))
                    queue = source.answers.get(path)
                    answer = (queue.pop(0) if len(queue) > 1 else queue[0]) if queue else None
                if answer is None:
                    answer = (404, b"no such answer", {}, 0)
                status, data, headers, delay = answer
                if delay:
                    time.sleep(delay)
                try:
                    self.send_response(status)
                    for name, value in ({"Content-Type": "application/json"} | headers).items():
                        self.send_header(name, value)
                    if "Content-Length" not in headers:
                        self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    if self.command != "HEAD":
                        self.wfile.write(data)
                except (BrokenPipeError, ConnectionResetError):
                    pass

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = respond

            def log_message(self, *args):
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, request, client_address):
                pass

        self.server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, path, status=200, body=b"", headers=None, delay=0):
        """What `path` answers from now on."""
        body = body.encode() if isinstance(body, str) else body
        with self.lock:
            self.answers[path] = [(status, body, headers or {}, delay)]

    def then(self, path, status=200, body=b"", headers=None, delay=0):
        """A further answer: earlier ones are given once each, the last for ever."""
        body = body.encode() if isinstance(body, str) else body
        with self.lock:
            self.answers.setdefault(path, []).append((status, body, headers or {}, delay))

    def hits(self, path):
        """(method, headers, body) of each request so far."""
        with self.lock:
            return [(m, h, b) for m, h, b, _ in self.seen.get(path, [])]

    def targets(self, path):
        """The full targets, with their queries."""
        with self.lock:
            return [t for _, _, _, t in self.seen.get(path, [])]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
