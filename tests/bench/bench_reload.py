"""bench_reload.py - a plugin replaced 1,000 times under traffic to its own routes, half of it writing: what it costs, what is left behind."""
import os
import shutil
import signal
import tempfile
import time
import reloads

TIMES = int(os.environ.get("RELOADS", "1000"))


def under(server, work, get, post, said):
    """Traffic while work() runs, and what came of both."""
    traffic = reloads.traffic(server, 3600, get, post, said)
    time.sleep(1)
    try:
        done = work()
    finally:
        traffic.send_signal(signal.SIGINT)  # wrk ends and reports
        found = reloads.result(traffic)
    return done, found


def left(server, name, fds):
    """Old generations mapped, and descriptors more than before, once the clients' connections are closed."""
    end = time.monotonic() + 10
    while reloads.descriptors(server) > fds and time.monotonic() < end:
        time.sleep(0.05)
    return len(reloads.mapped(server, name)) - 1, reloads.descriptors(server)


def case(title, name, get, post, said, dsn):
    directory = tempfile.mkdtemp(prefix="sl-bench-reload-")
    server = reloads.start(directory, dsn and dsn.replace("DIR", directory), env={"LOG_LEVEL": "warn"})
    seconds = float(os.environ.get("SECONDS_EACH", "4"))
    try:
        under(server, lambda: time.sleep(seconds), get, post, said)  # warm
        _, without = under(server, lambda: time.sleep(2 * seconds), get, post, said)
        reloads.many(server, name, 10)
        memory, fds = reloads.resident(server), reloads.descriptors(server)
        before = server.get("/counter").json()["value"]
        changes, with_them = under(server, lambda: reloads.many(server, name, TIMES), get, post, said)
        after = reloads.resident(server)
        mapped, fds_after = left(server, name, fds)
        median, p99 = reloads.spread([c["swap_us"] / 1000 for c in changes])
        print(f"{title}: {len(changes)} reloads in {with_them['seconds']:.1f} s under {with_them['rate']:,.0f} requests/s, half of them writing")
        print(f"  reload: median {median:.2f} ms, p99 {p99:.2f} ms; traffic's p99 without reloads {without['p99_us'] / 1000:.2f} ms "
              f"({without['rate']:,.0f}/s), with {with_them['p99_us'] / 1000:.2f} ms, worst {with_them['max_us'] / 1000:.1f} ms")
        print(f"  wrong answers {with_them['wrong']}, failed {with_them['errors']}; old generations mapped {mapped}; resident "
              f"{memory / 1024:.1f} -> {after / 1024:.1f} MB; descriptors {fds} -> {fds_after}", flush=True)
        if name == "counter":
            counted = server.get("/counter").json()["value"] - before
            held = sum(c["held"] for c in changes)
            print(f"  updates acknowledged {with_them['writes']:,}, in the state at the end {counted:,} (wrk leaves with up to 64 unanswered); "
                  f"requests that waited for a hand-over {held:,}", flush=True)
            if not with_them["writes"] <= counted <= with_them["writes"] + 64:
                raise SystemExit("updates were lost or doubled by a hand-over")
        if with_them["wrong"] or with_them["errors"] or mapped:
            raise SystemExit(f"reloads failed requests or left generations behind: {with_them['first_wrong']}")
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


def reload():
    case("reload of a plugin on SQLite", "bench", "/bench/hello", "/bench/rows", "some body text", "sqlite:DIR/store.db")
    case("reload with state hand-over", "counter", "/counter", "/counter/late", "counted", "")
