/* plain_sqlite.c - the peer of the SQLite benchmark: one durable transaction per insert in plain sqlite3; prints
 * inserts a second. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void run(sqlite3 *db, const char *sql)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL)) {
        fprintf(stderr, "%s: %s\n", sql, sqlite3_errmsg(db));
        exit(1);
    }
}

static void step(sqlite3 *db, sqlite3_stmt *s)
{
    int r;
    while ((r = sqlite3_step(s)) == SQLITE_ROW) {
    }
    if (r != SQLITE_DONE) {
        fprintf(stderr, "%s\n", sqlite3_errmsg(db));
        exit(1);
    }
    sqlite3_reset(s);
}

int main(int argc, char **argv)
{
    sqlite3 *db;
    sqlite3_stmt *begin, *insert, *commit;
    if (argc != 3 || sqlite3_open(argv[1], &db)) return 2;
    run(db, "pragma journal_mode=wal");
    run(db, "pragma synchronous=full");
    run(db, "create table if not exists bench_rows (id text primary key, tenant text not null, body text not null, "
            "created_at bigint not null)");
    sqlite3_prepare_v2(db, "begin immediate", -1, &begin, NULL);
    sqlite3_prepare_v2(db, "commit", -1, &commit, NULL);
    sqlite3_prepare_v2(db, "insert into bench_rows values (?, 'default', ?, 1700000000000000) returning *", -1, &insert,
                       NULL);
    double start = now(), seconds = atof(argv[2]);
    long n = 0;
    while (now() - start < seconds) {
        char id[64];
        snprintf(id, sizeof id, "%012lx-%08x-%08x", (long)(now() * 1e6), (unsigned)getpid(), (unsigned)n);
        sqlite3_bind_text(insert, 1, id, -1, SQLITE_TRANSIENT);
        sqlite3_bind_text(insert, 2, "some body text of about sixty bytes, as a row would hold it", -1, SQLITE_STATIC);
        step(db, begin);
        step(db, insert);
        step(db, commit);
        n++;
    }
    printf("%f\n", (double)n / (now() - start));
    sqlite3_finalize(begin);
    sqlite3_finalize(insert);
    sqlite3_finalize(commit);
    return sqlite3_close(db);
}
