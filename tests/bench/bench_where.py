"""bench_where.py - where the server's CPU time goes under load, by its own profile: each sample counts for the innermost function that is named here."""
import collections
import subprocess
import time
from pprof import Profile

# What a sample is about: the innermost frame that begins with one of these words. Time in the kernel shows in the function that called it.
AREAS = [("kernel: send", ("write", "__GI___libc_write", "__write", "__send")), ("kernel: receive", ("read", "__read", "__libc_read")),
         ("kernel: wait for events", ("epoll_wait", "epoll_pwait", "__epoll")), ("kernel: write and flush the log", ("fdatasync", "fsync", "pwrite", "__libc_pwrite", "__pwrite")),
         ("hand-over between threads", ("pthread_cond", "__pthread_cond", "uv_cond", "uv_async", "crew_")), ("token's hash", ("token_hash",)),
         ("reading clocks", ("clock_gettime", "__clock_gettime", "clock_", "dog_now")), ("SQLite: commit", ("commit_run", "sqlite3_wal_checkpoint")),
         ("SQLite: statements", ("sqlite_run", "open_tx", "sqlite_commit", "sqlite3_exec")), ("JSON in", ("json_read", "json_decref", "json_delete")),
         ("check by schema", ("schema_check", "input_check")), ("JSON out", ("http_reply_row", "render_", "json_add")),
         ("store: transactions, rows", ("store_", "rows_", "batch_", "end_batch", "tx_")), ("fiber and call", ("call_", "fiber_", "enter", "body", "make_fcontext", "watchdog", "jump_fcontext")),
         ("head of the answer", ("put_head", "exchange_", "answer")), ("audit, metrics, trace", ("access_", "audit_", "span_", "trace_", "series_", "log_")),
         ("route, limits, rights", ("on_head", "admit", "authorize", "router_find", "request_open", "limits_", "begin")), ("handler", ("entry_run", "module_invoke", "run")),
         ("HTTP parsing", ("llhttp", "on_", "conn_parse", "head_check", "scan_lines")), ("connection and loop", ("conn_", "uv_", "work_dirty", "serve"))]


def area(stack):
    named = [name for name in stack if name]
    for at, name in enumerate(named):
        for title, words in AREAS:
            if name.startswith(words):
                if title == "kernel: write and flush the log" or title.startswith("hand-over"):
                    return title
                if title.startswith("SQLite") or not any(n == "commit_run" for n in named[at:]):
                    return title
                return "SQLite: commit"
    return "other"


def where(title, server, url, script, seconds):
    """Runs wrk against url, takes a profile of the server meanwhile and prints the shares of the areas."""
    load = subprocess.Popen(["wrk", "-t1", "-c64", f"-d{seconds + 3}s", "-s", script, url], stdout=subprocess.DEVNULL)
    time.sleep(1)
    answer = server.admin("GET", f"/debug/pprof/profile?seconds={seconds}", timeout=seconds + 60)
    load.wait()
    profile = Profile(answer.content)
    shares = collections.Counter(area(stack) for stack, _ in profile.samples)
    print(f"{title}: {len(profile.samples)} samples")
    for name, n in shares.most_common():
        print(f"  {100 * n / len(profile.samples):5.1f} %  {name}", flush=True)
