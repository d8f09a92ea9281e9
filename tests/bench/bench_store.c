/* bench_store.c - durable single-row transactions a second with 64 calls at a time through the store, beside plain
 * sqlite3. Not part of the build:  make build/libhost.a && tests/bench/bench_store.sh [rounds [seconds]] */
#include "base/clock.h"
#include "loop/loop.h"
#include "store/store.h"
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

enum { CALLS = 64 };
static const char insert[] =
    "insert into rows (id, tenant, body, created_at) values ($1, 'default', $2, $3) returning *";
static const char table[] =
    "create table if not exists rows (id text primary key, tenant text not null, body text not null, "
    "created_at bigint not null)";
static const char body[] = "some body text of about sixty bytes, as a row would hold it";
static int64_t until;
static long done, failed;
static unsigned running;
static call *starter;
static long serial;
static bool reads;

static sl_str new_id(char room[40])
{
    return sl_lit(room, (size_t)snprintf(room, 40, "%012llx-%08lx", (unsigned long long)clock_now(), serial++));
}

/* A client: each of its requests is a call of its own, as over HTTP. */
static void request(call *c)
{
    char id[40];
    const sl_rows *rows;
    sl_value v[] = { sl_text(new_id(id)), sl_ctext(body), sl_int(clock_now()) };
    sl_err e = store_query(c, &rows, sl_cstr(insert), v, 3);
    if (!e && reads) e = store_query(c, &rows, SL("select * from rows where id = $1"), v, 1);
    if (!e) e = store_commit(c);
    if (e) {
        failed++;
        fprintf(stderr, "%d %s\n", e, store_error(c));
        store_rollback(c);
    }
    done++;
    if (clock_monotonic() < until && !failed && call_start(0, 10000, NULL, NULL, request)) return;
    if (--running == 0) call_wake(starter, SL_OK);
}

static struct {
    const char *dsn;
    double seconds, rate;
    struct store_stats stats;
} run;
static void through_store(call *c)
{
    char why[300];
    struct store_config cfg = { .dsn = sl_cstr(run.dsn) };
    if (store_open(c, &cfg, why, sizeof why)) {
        fprintf(stderr, "%s\n", why);
        exit(1);
    }
    store_query(c, NULL, sl_cstr(table), NULL, 0);
    store_commit(c);
    starter = c;
    done = 0;
    running = CALLS;
    int64_t start = clock_monotonic();
    until = start + (int64_t)(run.seconds * 1e9);
    for (int i = 0; i < CALLS; i++)
        call_start(0, 10000, NULL, NULL, request);
    call_wait(c, NULL, NULL);
    run.rate = (double)done / ((double)(clock_monotonic() - start) / 1e9);
    run.stats = store_stats();
    store_close(c);
}

static double plain(const char *path, double seconds)
{
    sqlite3 *db;
    sqlite3_stmt *begin, *st, *commit;
    char id[40];
    if (sqlite3_open(path, &db)) exit(1);
    sqlite3_exec(db, "pragma journal_mode=wal; pragma synchronous=full", NULL, NULL, NULL);
    sqlite3_exec(db, table, NULL, NULL, NULL);
    sqlite3_prepare_v2(db, "begin immediate", -1, &begin, NULL);
    sqlite3_prepare_v2(db, "commit", -1, &commit, NULL);
    if (sqlite3_prepare_v2(db, insert, -1, &st, NULL)) exit(1);
    long n = 0;
    int64_t start = clock_monotonic(), end = start + (int64_t)(seconds * 1e9);
    for (; clock_monotonic() < end; n++) {
        sl_str s = new_id(id);
        sqlite3_bind_text(st, 1, s.p, (int)s.n, SQLITE_STATIC);
        sqlite3_bind_text(st, 2, body, -1, SQLITE_STATIC);
        sqlite3_bind_int64(st, 3, clock_now());
        sqlite3_step(begin);
        sqlite3_reset(begin);
        while (sqlite3_step(st) == SQLITE_ROW) {
        }
        if (sqlite3_reset(st)) exit(1);
        if (sqlite3_step(commit) != SQLITE_DONE) exit(1);
        sqlite3_reset(commit);
    }
    double rate = (double)n / ((double)(clock_monotonic() - start) / 1e9);
    sqlite3_finalize(begin);
    sqlite3_finalize(st);
    sqlite3_finalize(commit);
    sqlite3_close(db);
    return rate;
}

int main(int argc, char **argv)
{
    int rounds = argc > 2 ? atoi(argv[2]) : 5;
    run.seconds = argc > 3 ? atof(argv[3]) : 2;
    reads = argc > 4;
    if (argc < 2) return 2;
    char a[200], b[200];
    snprintf(a, sizeof a, "sqlite:%s/store.db", argv[1]);
    snprintf(b, sizeof b, "%s/plain.db", argv[1]);
    run.dsn = a;
    for (int i = 0; i < rounds; i++) {
        loop_setup(&(struct loop_config){ .max_calls = 1000 }, NULL);
        call_start(128, 0, NULL, NULL, through_store);
        loop_run();
        loop_close();
        double peer = plain(b, run.seconds);
        printf("store %8.0f/s (%.1f calls a batch)  plain sqlite3 %7.0f/s  ratio %.1f\n", run.rate,
               (double)run.stats.commits / (double)(run.stats.batches ? run.stats.batches : 1), peer, run.rate / peer);
    }
    return failed != 0;
}
