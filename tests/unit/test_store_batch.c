/* test_store_batch.c - SQLite's group commit and its threads: batches, their failure, line of writers, slow statements,
 * checkpoints. */
#include "store_unit.h"
#include "store/sqlite.h"
#include <fcntl.h>
#include <sys/stat.h>

/* Counts to $1 in SQLite's machine: some 50 ns a step. */
#define COUNTING "with recursive n (i) as (select 1 union all select i + 1 from n where i < $1) "

static void open_table(call *c)
{
    unit_open(c, unit_dsn);
    GOOD(c, "create table t (id bigint primary key, n bigint, pad text)");
    CHECK(store_commit(c) == SL_OK);
}
static void insert_one(call *c, void *arg)
{
    sl_err e = Q(c, "insert into t (id, n) values ($1, 0)", *(int64_t *)arg);
    if (!e) e = store_commit(c);
    *(int64_t *)arg = e;
}

static void group_body(call *c)
{
    enum { CALLS = 64, ROUNDS = 10 };
    int64_t value[CALLS];
    open_table(c);
    struct store_stats before = store_stats();
    for (int r = 0; r < ROUNDS; r++) {
        for (int i = 0; i < CALLS; i++) {
            value[i] = r * CALLS + i;
            spawn(5000, insert_one, &value[i]);
        }
        join(c);
        for (int i = 0; i < CALLS; i++)
            CHECK(value[i] == SL_OK);
    }
    struct store_stats after = store_stats();
    CHECK(after.commits - before.commits == CALLS * ROUNDS);
    CHECK(after.batches - before.batches <= 2 * ROUNDS);
    CHECK(N(c, "select count(*) from t") == CALLS * ROUNDS);
}
static void sixty_four_calls_share_one_fsync(void **state)
{
    (void)state;
    in_store(group_body);
}

static void many_body(call *c)
{
    enum { CALLS = 1200 };
    static int64_t value[CALLS];
    open_table(c);
    for (int i = 0; i < CALLS; i++)
        spawn(20000, insert_one, &(value[i] = i, value)[i]);
    join(c);
    CHECK(N(c, "select count(*) from t") == CALLS);
    CHECK(store_stats().batches >= 4); /* 512 at the most under one fsync */
}
static void a_batch_has_at_most_512_calls(void **state)
{
    (void)state;
#if defined(__SANITIZE_THREAD__)
    skip(); /* a fiber costs ThreadSanitizer over a megabyte */
#endif
    in_store(many_body);
}

/* While the writer's thread commits, another connection must not see the rows, and no call may have been answered. */
static struct {
    bool looked, answered;
    int64_t seen;
} before_commit;
static int count_outside(const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *st;
    int n = -1;
    CHECK(sqlite3_open_v2(unit_path, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK);
    if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
        n = sqlite3_column_int(st, 0);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return n;
}
static void insert_and_tell(call *c, void *arg)
{
    insert_one(c, arg);
    before_commit.answered = true;
}
static void look_before(void *arg)
{
    (void)arg;
    before_commit.seen = count_outside("select count(*) from t");
    before_commit.looked = !before_commit.answered;
}
static void visible_body(call *c)
{
    int64_t one = 1;
    open_table(c);
    before_commit.answered = false;
    /* Runs at the end of this turn, before the batch's own turn end, which the insert registers after it. */
    loop_at_turn_end(look_before, NULL);
    spawn(0, insert_and_tell, &one);
    join(c);
    CHECK(before_commit.looked && before_commit.seen == 0);
    CHECK(one == SL_OK);
    CHECK(count_outside("select count(*) from t") == 1);
    CHECK(N(c, "select count(*) from t") == 1); /* a read after an answer sees what was answered */
}
static void nobody_sees_or_is_told_before_the_commit(void **state)
{
    (void)state;
    in_store(visible_body);
}

static void big_insert(call *c, void *arg)
{
    sl_err e = Q(c, "insert into t (id, n, pad) values ($1, 0, hex(zeroblob(30000)))", *(int64_t *)arg);
    if (!e) e = store_commit(c);
    CHECK(!e || strstr(store_error(c), "full"));
    CHECK(!e || store_may_retry(c) || store_in_transaction(c));
    *(int64_t *)arg = e;
}
static void full_body(call *c)
{
    enum { CALLS = 20 };
    int64_t value[CALLS], fine = 0, failed = 0;
    open_table(c);
    CHECK(sqlite3_exec(sqlite.conn[CONN_WRITE].db, "pragma max_page_count = 60", NULL, NULL, NULL) == SQLITE_OK);
    for (int i = 0; i < CALLS; i++)
        spawn(0, big_insert, &(value[i] = i, value)[i]);
    join(c);
    for (int i = 0; i < CALLS; i++) {
        fine += value[i] == SL_OK;
        failed += value[i] == SL_EUNAVAIL;
    }
    CHECK(fine + failed == CALLS && failed >= 4);
    CHECK(N(c, "select count(*) from t") == fine);
    sqlite3_exec(sqlite.conn[CONN_WRITE].db, "pragma max_page_count = 100000", NULL, NULL, NULL);
    for (int i = 0; i < CALLS; i++)
        spawn(0, insert_one, &(value[i] = 100 + i, value)[i]);
    join(c);
    for (int i = 0; i < CALLS; i++)
        CHECK(value[i] == SL_OK);
    CHECK(N(c, "select count(*) from t") == fine + CALLS);
}
static void a_full_database_fails_its_whole_batch_and_the_next_works(void **state)
{
    (void)state;
    in_store(full_body);
}

static int fail_commit(void *arg) { return *(int *)arg; }
static void failing_commit_body(call *c)
{
    enum { CALLS = 8 };
    int64_t value[CALLS];
    int failing = 1;
    open_table(c);
    sqlite3_commit_hook(sqlite.conn[CONN_WRITE].db, fail_commit, &failing);
    for (int i = 0; i < CALLS; i++)
        spawn(0, insert_one, &(value[i] = i, value)[i]);
    join(c);
    for (int i = 0; i < CALLS; i++)
        CHECK(value[i] == SL_EUNAVAIL);
    CHECK(N(c, "select count(*) from t") == 0);
    failing = 0;
    for (int i = 0; i < CALLS; i++)
        spawn(0, insert_one, &(value[i] = i, value)[i]);
    join(c);
    for (int i = 0; i < CALLS; i++)
        CHECK(value[i] == SL_OK);
    CHECK(N(c, "select count(*) from t") == CALLS);
}
static void a_failing_commit_fails_every_call_of_the_batch(void **state)
{
    (void)state;
    in_store(failing_commit_body);
}

static void holds(call *c, void *arg)
{
    GOOD(c, "insert into t (id, n) values ($1, 0)", *(int64_t *)arg);
    call_sleep(c, 60);
    CHECK(store_commit(c) == SL_OK);
}
static call *cancelled;
static void waits_cancelled(call *c, void *arg)
{
    cancelled = c;
    *(int64_t *)arg = Q(c, "insert into t (id, n) values (77, 0)");
}
static void queue_body(call *c)
{
    int64_t held = 1, late = 2, left = 3, after = 4;
    open_table(c);
    spawn(0, holds, &held);
    spawn(15, insert_one, &late);
    spawn(0, waits_cancelled, &left);
    spawn(5000, insert_one, &after);
    call_sleep(c, 30);
    CHECK(late == SL_ETIME);
    call_cancel(cancelled);
    join(c);
    CHECK(left == SL_ECANCEL);
    CHECK(after == SL_OK);
    CHECK(N(c, "select count(*) from t") == 2);
}
static void a_deadline_or_cancel_in_the_line_of_writers_leaves_it(void **state)
{
    (void)state;
    in_store(queue_body);
}

static void locked_body(call *c)
{
    sqlite3 *shell;
    int64_t one = 1, two = 2;
    open_table(c);
    CHECK(sqlite3_open(unit_path, &shell) == SQLITE_OK);
    CHECK(sqlite3_exec(shell, "begin immediate; insert into t (id, n) values (50, 0)", NULL, NULL, NULL) == SQLITE_OK);
    spawn(40, insert_one, &one);
    spawn(5000, insert_one, &two);
    call_sleep(c, 80);
    CHECK(one == SL_EUNAVAIL || one == SL_ETIME);
    CHECK(N(c, "select count(*) from t") == 0); /* readers go on */
    CHECK(sqlite3_exec(shell, "commit", NULL, NULL, NULL) == SQLITE_OK);
    join(c);
    CHECK(two == SL_OK);
    CHECK(N(c, "select count(*) from t") == 2);
    sqlite3_close(shell);
}
static void another_process_that_writes_is_waited_for(void **state)
{
    (void)state;
    in_store(locked_body);
}

/* How often the loop came round while something slow ran. */
static struct {
    bool stop;
    int beats;
} heart;
static void beat(call *c, void *arg)
{
    (void)arg;
    for (; !heart.stop; heart.beats++)
        call_sleep(c, 1);
}

struct slow {
    const char *sql;
    int64_t n;
    sl_err e;
    int64_t result, us;
};
static void run_slow(call *c, void *arg)
{
    struct slow *s = arg;
    const sl_rows *r;
    sl_value v = sl_int(s->n);
    int64_t start = clock_monotonic();
    s->e = store_query(c, &r, sl_cstr(s->sql), &v, 1);
    s->us = (clock_monotonic() - start) / 1000;
    s->result = s->e ? -1 : r->rows ? r->cells[0].i : r->changed;
    if (!s->e) s->e = store_commit(c);
}
static void run_and_watch(call *c, struct slow *s, uint32_t deadline_ms)
{
    heart.stop = false;
    heart.beats = 0;
    spawn(0, beat, NULL);
    unsigned others = unit_running;
    spawn(deadline_ms, run_slow, s);
    while (unit_running > others)
        call_sleep(c, 1);
    heart.stop = true;
    join(c);
    /* A loop that stood still would have beaten once or twice; how often it does is up to the machine's other work. */
    CHECK(s->us < 30000 || heart.beats >= 8);
}

static void slow_read_body(call *c)
{
    struct slow s = { .sql = COUNTING "select count(*) from n", .n = 1000000 };
    open_table(c);
    for (int i = 0; i < 2;
         i++) { /* the first time it is stopped and moved, the second time it goes to a thread at once */
        run_and_watch(c, &s, 20000);
        CHECK(s.e == SL_OK && s.result == 1000000 && s.us > 30000);
    }
    s.n = 2000000000; /* the deadline ends it */
    run_and_watch(c, &s, 100);
    CHECK(s.e == SL_ETIME && s.us < 2000000);
    CHECK(strstr(store_error(c), "deadline") == NULL); /* the sentence is the other call's */
    s.n = 10;
    run_and_watch(c, &s, 1000);
    CHECK(s.e == SL_OK && s.result == 10);
}
static void a_slow_query_does_not_hold_the_loop(void **state)
{
    (void)state;
    in_store(slow_read_body);
}

static const char *dsn_of_slow;
static void slow_write_body(call *c)
{
    struct slow s = { .sql = "insert into t (id, n) " COUNTING "select max(i), 1 from n", .n = 1000000 };
    unit_open(c, dsn_of_slow);
    GOOD(c, "create table t (id bigint primary key, n bigint, pad text)");
    CHECK(store_commit(c) == SL_OK);
    for (int i = 0; i < 2; i++) { /* the first time in slices on the loop, the second time on the writer's thread */
        run_and_watch(c, &s, 20000);
        CHECK(s.e == SL_OK && s.result == 1 && s.us > 30000);
        GOOD(c, "delete from t");
        CHECK(store_commit(c) == SL_OK);
    }
    struct slow read = { .sql = COUNTING "select count(*) from n", .n = 1000000 };
    run_and_watch(c, &read, 20000);
    CHECK(read.e == SL_OK && read.result == 1000000);
}
static void a_slow_write_does_not_hold_the_loop(void **state)
{
    (void)state;
    dsn_of_slow = unit_dsn;
    in_store(slow_write_body);
    dsn_of_slow = "";
    in_store(slow_write_body);
}

/* Stopping a write costs its whole batch; the others may run again. */
struct retried {
    int64_t id;
    unsigned runs;
    sl_err e;
};
static void insert_retrying(call *c, void *arg)
{
    struct retried *r = arg;
    do {
        store_rollback(c);
        r->runs++;
        r->e = Q(c, "insert into t (id, n) values ($1, 0)", r->id);
        if (!r->e) r->e = store_commit(c);
    } while (r->e && store_may_retry(c) && r->runs < 5);
}
static void stopped_write_body(call *c)
{
    struct slow s = { .sql = "insert into t (id, n) " COUNTING "select i, 1 from n", .n = 2000000000 };
    struct retried r = { .id = -1 };
    open_table(c);
    spawn(0, insert_retrying, &r);
    spawn(150, run_slow, &s);
    join(c);
    CHECK(s.e == SL_ETIME);
    CHECK(r.e == SL_OK && r.runs == 2);
    CHECK(N(c, "select count(*) from t") == 1);
}
static void a_write_stopped_by_its_deadline_lets_the_others_run_again(void **state)
{
    (void)state;
    in_store(stopped_write_body);
}

static int setting(int connection, const char *pragma)
{
    sqlite3_stmt *st;
    int value = -1;
    CHECK(sqlite3_prepare_v2(sqlite.conn[connection].db, pragma, -1, &st, NULL) == SQLITE_OK);
    if (sqlite3_step(st) == SQLITE_ROW) value = sqlite3_column_int(st, 0);
    sqlite3_finalize(st);
    return value;
}
static void settings_body(call *c)
{
    open_table(c);
    CHECK(setting(CONN_WRITE, "pragma synchronous") == 2); /* FULL: the log is flushed at each commit */
    CHECK(setting(CONN_WRITE, "pragma foreign_keys") == 1);
    CHECK(setting(CONN_WRITE, "select count(*) from pragma_journal_mode where journal_mode = 'wal'") == 1);
    CHECK(setting(CONN_WRITE, "pragma wal_autocheckpoint") == 0); /* COMMIT itself never stops to copy the log */
    CHECK(setting(CONN_WRITE, "pragma busy_timeout") == 0);
    CHECK(setting(CONN_READ, "pragma busy_timeout") == 0);
    CHECK(sqlite3_db_readonly(sqlite.conn[CONN_READ].db, "main") == 1);
}
static void a_file_is_opened_for_durable_commits(void **state)
{
    (void)state;
    in_store(settings_body);
}

static void checkpoint_body(call *c)
{
    struct stat st = { 0 };
    char wal[128];
    open_table(c);
    snprintf(wal, sizeof wal, "%s-wal", unit_path);
    for (int i = 0; i < 400; i++) { /* 24 MB of log in all */
        GOOD(c, "insert or replace into t (id, n, pad) values ($1, 0, hex(zeroblob(30000)))", i % 10);
        CHECK(store_commit(c) == SL_OK);
    }
    CHECK(stat(wal, &st) == 0 && st.st_size < 20 << 20);
    CHECK(N(c, "select count(*) from t") == 10);
    CHECK(stat(unit_path, &st) == 0 && (st.st_mode & 0777) == 0600);
}
static void the_log_is_copied_back_before_it_grows_large(void **state)
{
    (void)state;
    in_store(checkpoint_body);
}

struct many {
    int from;
    sl_err e;
};
static void insert_many(call *c, void *arg)
{
    struct many *m = arg;
    for (int i = 0; i < 400 && !m->e; i++) { /* SQLite counts the steps of SAVEPOINT and COMMIT over all their runs */
        m->e = Q(c, "insert into t (id, n) values ($1, 0)", m->from + i);
        if (!m->e) m->e = store_commit(c);
    }
}
static void limits_of_a_statement_body(call *c)
{
    struct many m[4] = { { 0 } };
    open_table(c);
    for (int i = 0; i < 4; i++) {
        m[i].from = i * 1000;
        spawn(30000, insert_many, &m[i]);
    }
    join(c);
    for (int i = 0; i < 4; i++)
        CHECK(m[i].e == SL_OK);
    CHECK(N(c, "select count(*) from t") == 1600);
}
static void a_commit_does_not_run_under_the_last_statements_time_limit(void **state)
{
    (void)state;
    in_store(limits_of_a_statement_body);
}

static void rolled_back_sees_body(call *c)
{
    int64_t same[4] = { 5, 5, 5, 5 };
    open_table(c);
    for (int i = 0; i < 4; i++)
        spawn(0, insert_one, &same[i]);
    join(c);
    CHECK(same[0] == SL_OK && same[1] == SL_ECONFLICT && same[2] == SL_ECONFLICT && same[3] == SL_ECONFLICT);
    CHECK(N(c, "select count(*) from t") == 1);
}
static void one_of_four_calls_takes_a_unique_key(void **state)
{
    (void)state;
    in_store(rolled_back_sees_body);
}

/* 64 KiB of stack must be enough for what SQLite does there at its limits. */
static void deep(call *c, void *arg)
{
    char sql[4000];
    size_t n = (size_t)snprintf(sql, sizeof sql, "select ");
    for (int i = 0; i < 60; i++)
        n += (size_t)snprintf(sql + n, sizeof sql - n, "(1+abs(");
    n += (size_t)snprintf(sql + n, sizeof sql - n, "1");
    for (int i = 0; i < 60; i++)
        n += (size_t)snprintf(sql + n, sizeof sql - n, "))");
    sl_err e = store_query(c, NULL, sl_lit(sql, n), NULL, 0);
    CHECK(e == SL_OK || e == SL_EINVAL);
    n = (size_t)snprintf(sql, sizeof sql, "select 1");
    for (int i = 0; i < 40; i++)
        n += (size_t)snprintf(sql + n, sizeof sql - n, " from (select count(*) as a%d", i);
    n += (size_t)snprintf(sql + n, sizeof sql - n, " from t");
    for (int i = 0; i < 40; i++)
        n += (size_t)snprintf(sql + n, sizeof sql - n, ")");
    e = store_query(c, NULL, sl_lit(sql, n), NULL, 0);
    CHECK(e == SL_OK || e == SL_EINVAL);
    GOOD(c,
         "select count(*) from t a join t b on a.id = b.n join t d on d.id = b.id left join t e on e.n = d.n where "
         "a.pad like $1 "
         "group by a.id, b.id having count(*) > 1 order by a.n, b.n",
         "%a%a%a%a%a%a%a%a%a%a%a%a%a%a%b");
    *(size_t *)arg = fiber_stack_used(fiber_current());
}
static void stack_body(call *c)
{
    size_t used = 0;
    open_table(c);
    spawn(0, deep, &used);
    join(c);
    print_message("stack used: %zu bytes\n", used);
    CHECK(used > 0);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    CHECK(used < 48 << 10);
#endif
}
static void statements_at_sqlites_limits_fit_a_small_stack(void **state)
{
    (void)state;
    in_store(stack_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sixty_four_calls_share_one_fsync),
        cmocka_unit_test(a_batch_has_at_most_512_calls),
        cmocka_unit_test(nobody_sees_or_is_told_before_the_commit),
        cmocka_unit_test(a_full_database_fails_its_whole_batch_and_the_next_works),
        cmocka_unit_test(a_failing_commit_fails_every_call_of_the_batch),
        cmocka_unit_test(a_deadline_or_cancel_in_the_line_of_writers_leaves_it),
        cmocka_unit_test(another_process_that_writes_is_waited_for),
        cmocka_unit_test(a_slow_query_does_not_hold_the_loop),
        cmocka_unit_test(a_slow_write_does_not_hold_the_loop),
        cmocka_unit_test(a_write_stopped_by_its_deadline_lets_the_others_run_again),
        cmocka_unit_test(a_file_is_opened_for_durable_commits),
        cmocka_unit_test(the_log_is_copied_back_before_it_grows_large),
        cmocka_unit_test(a_commit_does_not_run_under_the_last_statements_time_limit),
        cmocka_unit_test(one_of_four_calls_takes_a_unique_key),
        cmocka_unit_test(statements_at_sqlites_limits_fit_a_small_stack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
