"""test_fetch_server.py - the servers that test_fetch*.c and tests/fault/test_sources.py fetch from: plain and TLS, each path another way to misbehave.

usage: test_fetch_server.py DIRECTORY; makes ca.pem there, prints "HTTP_PORT HTTPS_PORT" and serves until its input ends."""
import gzip, json, os, socket, ssl, subprocess, sys, threading, time
from urllib.parse import parse_qs, urlsplit

directory = sys.argv[1]
lock = threading.Lock()
busy = most = accepted = 0
BOMB = gzip.compress(bytes(50 << 20), 9)


def answer(status="200 OK", body=b"", *headers):
    head = [f"HTTP/1.1 {status}", *headers]
    if not any(h.lower().startswith(("content-length", "transfer-encoding", "connection: close")) for h in headers):
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


def serve(s, method, path, query, headers, body):
    """Sends one answer; returns True when the connection may go on."""
    global busy, most, accepted
    if path == "/plain":
        s.sendall(answer("200 OK", b"hello", "Content-Type: text/plain; charset=utf-8", "X-Two: a", "X-Two: b"))
        return True
    if path == "/echo":
        s.sendall(answer("200 OK", json.dumps({"method": method, "path": path, "headers": headers, "body": body.decode()}).encode(),
                         "Content-Type: application/json"))
        return True
    if path == "/redirect":
        s.sendall(answer(query.get("status", ["302"])[0] + " Found", b"moved", "Location: " + query["to"][0]))
        return True
    if path == "/loop":
        s.sendall(answer("302 Found", b"", "Location: /loop"))
        return True
    if path == "/status":
        s.sendall(answer(query["code"][0] + " X", b"{}"))
        return True
    if path == "/gzip":
        s.sendall(answer("200 OK", gzip.compress(b"squeezed " * 1000), "Content-Encoding: gzip"))
    elif path == "/bomb":
        s.sendall(answer("200 OK", BOMB, "Content-Encoding: gzip", "Connection: close"))
    elif path == "/doublebomb":
        s.sendall(answer("200 OK", gzip.compress(BOMB), "Content-Encoding: gzip, gzip", "Connection: close"))
    elif path == "/zstd":
        s.sendall(answer("200 OK", b"\x28\xb5\x2f\xfd junk", "Content-Encoding: zstd"))
    elif path == "/badgzip":
        s.sendall(answer("200 OK", b"this is not gzip", "Content-Encoding: gzip"))
    elif path == "/endless":
        s.sendall(answer("200 OK", b"", "Connection: close"))
        while True:
            s.sendall(b"x" * 65536)
    elif path == "/announced":
        s.sendall(answer("200 OK", b"x", "Content-Length: 99999999"))
        time.sleep(60)
    elif path == "/short":
        s.sendall(answer("200 OK", b"only ten b", "Content-Length: 100"))
    elif path == "/longer":
        s.sendall(answer("200 OK", b"five!and more", "Content-Length: 5"))
    elif path == "/drip":
        s.sendall(answer("200 OK", b"", "Content-Length: 60"))
        for _ in range(60):
            s.sendall(b".")
            time.sleep(1)
    elif path == "/driphead":
        for byte in answer("200 OK", b"{}", "X-Long: " + "v" * 60):
            s.sendall(bytes([byte]))
            time.sleep(1)
    elif path == "/endlessheaders":
        s.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            s.sendall(b"".join(b"X-%d: v\r\n" % i for i in range(64)))
    elif path == "/endlessinterim":
        while True:
            s.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n" * 64)
    elif path == "/endlesschunk":
        s.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;")
        while True:
            s.sendall(b"x" * 65536)
    elif path == "/endlesscomment":
        s.sendall(answer("200 OK", b"\x1f\x8b\x08\x10\0\0\0\0\0\3", "Content-Encoding: gzip", "Connection: close"))
        while True:
            s.sendall(b"x" * 65536)
    elif path == "/endlessblocks":
        s.sendall(answer("200 OK", b"\x1f\x8b\x08\0\0\0\0\0\0\3", "Content-Encoding: gzip", "Connection: close"))
        while True:
            s.sendall(b"\0\0\0\xff\xff" * 10000)
    elif path == "/hang":
        time.sleep(30)
    elif path == "/close":
        pass
    elif path == "/nonsense":
        s.sendall(b"\x00\x01\x02 what is this\r\n\r\n")
    elif path == "/manyheaders":
        s.sendall(answer("200 OK", b"", *[f"X-{i}: v" for i in range(1000)]))
    elif path == "/bigheader":
        s.sendall(answer("200 OK", b"", "X-Big: " + "v" * 60000))
    elif path == "/interim":
        s.sendall(b"HTTP/1.1 103 Early Hints\r\nX-Interim: yes\r\n\r\n" + answer("200 OK", b"final", "X-Final: yes"))
    elif path == "/trailer":
        s.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Late\r\n\r\n3\r\nabc\r\n0\r\nX-Late: 1\r\n\r\n")
    elif path == "/hold":
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.05)
        with lock:
            busy -= 1
        s.sendall(answer("200 OK", b"held"))
    elif path == "/counts":
        with lock:
            s.sendall(answer("200 OK", f"{most} {accepted}".encode()))
            most = accepted = 0
    else:
        s.sendall(answer("404 Not Found"))
    return False


def connection(s, context):
    global accepted
    try:
        if context:
            s = context.wrap_socket(s, server_side=True)
        with lock:
            accepted += 1
        f = s.makefile("rb")
        go_on = True
        while go_on:
            line = f.readline().decode("latin-1").split()
            if len(line) != 3:
                break
            headers = {}
            while (h := f.readline().decode("latin-1").strip()):
                name, _, value = h.partition(":")
                headers[name.lower()] = value.strip()
            body = f.read(int(headers.get("content-length", 0)))
            url = urlsplit(line[1])
            go_on = serve(s, line[0], url.path, parse_qs(url.query), headers, body)
        s.shutdown(socket.SHUT_WR)
    except (OSError, ssl.SSLError):
        pass
    finally:
        s.close()


def listen(context):
    s = socket.create_server(("0.0.0.0", 0), backlog=256)

    def loop():
        while True:
            threading.Thread(target=connection, args=(s.accept()[0], context), daemon=True).start()

    threading.Thread(target=loop, daemon=True).start()
    return s.getsockname()[1]


def certificate():
    def run(*args):
        subprocess.run(("openssl",) + args, cwd=directory, check=True, capture_output=True)

    with open(os.path.join(directory, "san"), "w") as f:
        f.write("subjectAltName=DNS:localhost,DNS:secure.test,IP:127.0.0.1\n")
    ec = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    run("req", "-x509", *ec, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=Test CA")
    run("req", "-x509", *ec, "-keyout", "other.key", "-out", "other.pem", "-days", "2", "-subj", "/CN=Other CA")
    run("req", *ec, "-keyout", "key.pem", "-out", "request", "-subj", "/CN=localhost")
    run("x509", "-req", "-in", "request", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "san", "-out", "cert.pem")


certificate()
good = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
good.load_cert_chain(os.path.join(directory, "cert.pem"), os.path.join(directory, "key.pem"))
print(listen(None), listen(good), flush=True)
sys.stdin.read()
