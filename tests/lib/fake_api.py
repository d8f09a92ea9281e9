"""fake_api.py - a scripted HTTP server: serves an OpenAPI document and answers as a test tells it, keeping the requests."""
import http.server
import json
import ssl
import threading


class FakeApi:
    """answers[(method, path without query)] is a list of (status, headers, body) used up from the front; the last one stays.
    A body that is no text or bytes is sent as JSON; status 0 breaks the connection off without an answer."""

    def __init__(self, document=None, tls=None):
        self.document, self.answers, self.requests = document, {}, []
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def answer(self):
                size = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(size).decode() if size else ""
                fake.requests.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                status, headers, data = fake.pick(self.command, self.path)
                if status == 0:
                    self.close_connection = True
                    return
                if not isinstance(data, (str, bytes)):
                    data, headers = json.dumps(data), {"Content-Type": "application/json", **headers}
                data = data.encode() if isinstance(data, str) else data
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def pick(self, method, path):
        path = path.split("?")[0]
        script = self.answers.get((method, path))
        if script:
            return script.pop(0) if len(script) > 1 else script[0]
        if path == "/openapi.json" and self.document is not None:
            return 200, {"Content-Type": "application/json", "ETag": '"doc"'}, self.document
        return 404, {"Content-Type": "application/problem+json"}, {"detail": "There is no such route.", "code": "not_found", "status": 404}

    def of(self, method, path):
        """The requests with this method and path."""
        return [r for r in self.requests if r[0] == method and r[1].split("?")[0] == path]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
