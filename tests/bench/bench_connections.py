"""bench_connections.py - what an idle keep-alive connection costs in memory, and what 10,000 of them cost the busy ones; beside nginx."""
import os
import resource
import socket
import statistics
import time
from server import TOKEN

IDLE = 10000


def resident(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Pss_Anon:")) * 1024


def ask(sock, path, headers):
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\n{headers}\r\n".encode())
    answer = sock.recv(4096)
    assert answer.startswith(b"HTTP/1.1 200"), answer


def hold(port, path, headers, n):
    """n connections, each of which has had one answer."""
    held = []
    for _ in range(n):
        sock = socket.create_connection(("127.0.0.1", port), timeout=20)
        ask(sock, path, headers)
        held.append(sock)
    return held


def bytes_each(pid, port, path, headers):
    """A first thousand fills pools and the allocator's arenas; what the others add is theirs."""
    held = hold(port, path, headers, 1000)
    time.sleep(0.5)
    before = resident(pid)
    held += hold(port, path, headers, IDLE - 1000)
    time.sleep(0.5)
    return (resident(pid) - before) / (IDLE - 1000), held


def connections(report, rounds, server_of, nginx_of, wrk, script):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < IDLE + 1000:
        raise SystemExit(f"connections: needs {IDLE + 1000} open files, the hard limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    token = f"Authorization: Bearer {TOKEN}\r\n"
    ours, theirs, alone, beside = [], [], [], []
    for _ in range(rounds):
        server = server_of()
        alone.append(wrk(server.url + "/bench/hello", script))
        size, held = bytes_each(server.process.pid, server.port, "/bench/hello", token)
        ours.append(size / 1024)
        beside.append(wrk(server.url + "/bench/hello", script))
        for sock in held[::100]:
            ask(sock, "/bench/hello", token)  # they are still served
        for sock in held:
            sock.close()
        server.stop()
        peer, url = nginx_of()
        children = open(f"/proc/{peer.pid}/task/{peer.pid}/children").read().split()
        size, held = bytes_each(int(children[0]), int(url.rsplit(":", 1)[1].strip("/")), "/", "")
        theirs.append(size / 1024)
        for sock in held:
            sock.close()
        peer.terminate()
        peer.wait()
    report("memory of an idle keep-alive connection of 10,000, without the kernel's socket", ours, theirs, "nginx", "KiB")
    report("trivial route beside 10,000 idle connections", beside, alone, "the same server without them")
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return statistics.median(ours)
