/* test_store_log.c - a log in the store: records in the order of the commits, each on the one before, all or nothing.
 */
#include "store_unit.h"
#include "store/statement.h"

enum { CALLS = 64 };

/* A record is a number; the head is how many there were, and 31 * the last head's sum + the number. */
static sl_err link_number(const sl_value *record, sl_value *head)
{
    if (head[0].type != SL_INT || record[0].i == 666) return SL_EINTERNAL;
    head[0].i++;
    head[1].i = (31 * head[1].i + record[0].i) % 1000003;
    return SL_OK;
}
static const struct store_log numbers = {
    .head = "select n, sum from head",
    .insert = "insert into log (number, n, sum) values ($1, $2, $3)",
    .advance = "update head set n = $1, sum = $2",
    .link = link_number,
};

static void open_log(call *c, const char *dsn)
{
    unit_open(c, dsn);
    GOOD(c, "create table log (at {{serial}}, number bigint not null check (number <> 13), n bigint, sum bigint)");
    GOOD(c, "create table head (n bigint, sum bigint)");
    GOOD(c, "create table t (id bigint primary key)");
    GOOD(c, "insert into head (n, sum) values (0, 0)");
    CHECK(store_commit(c) == SL_OK);
}

/* Records of the log that do not stand on the one before. */
static int64_t broken(call *c)
{
    return N(
        c,
        "select count(*) from log a left join log b on b.n = a.n - 1 "
        "where a.sum <> (31 * coalesce(b.sum, 0) + a.number) % 1000003 or (b.at is null) <> (a.n = 1) or b.at > a.at");
}

static void append_one(call *c, void *arg)
{
    int64_t *n = arg, number = *n;
    sl_value record = sl_int(number);
    sl_err e = number % 4 ? Q(c, "insert into t (id) values ($1)", number)
                          : SL_OK; /* some have nothing else to write */
    if (!e) e = store_append(c, &numbers, &record, 1);
    if (!e && number % 8 == 7) {
        store_rollback(c);
        e = SL_ECANCEL;
    }
    CHECK(e || store_pending(c));
    *n = e ? e : store_commit(c);
}

static void many_body(call *c)
{
    int64_t value[CALLS];
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < CALLS; i++) {
            value[i] = 1000 * (round + 1) + i;
            spawn(5000, append_one, &value[i]);
        }
        join(c);
        for (int i = 0; i < CALLS; i++)
            CHECK(value[i] == ((1000 * (round + 1) + i) % 8 == 7 ? SL_ECANCEL : SL_OK));
    }
    CHECK(N(c, "select count(*) from log") == 10 * CALLS * 7 / 8);
    CHECK(N(c, "select count(*) from log where number % 8 = 7") == 0);
    CHECK(N(c, "select n from head") == 10 * CALLS * 7 / 8);
    CHECK(N(c, "select count(*) from head h join log l on l.n = h.n and l.sum = h.sum") == 1);
    CHECK(broken(c) == 0);
}
static void file_body(call *c)
{
    open_log(c, unit_dsn);
    many_body(c);
    store_close(c); /* and after a restart it goes on */
    unit_open(c, unit_dsn);
    int64_t number = 99998;
    append_one(c, &number);
    CHECK(number == SL_OK && broken(c) == 0);
}
static void memory_body(call *c)
{
    open_log(c, "");
    many_body(c);
}
static void records_stand_in_the_order_of_the_commits(void **state)
{
    (void)state;
    in_store(file_body);
    in_store(memory_body);
}

/* What cannot be appended takes its batch with it: nobody is told that a change is done whose record is not there. */
static void refused_body(call *c)
{
    static const int64_t bad[] = { 13, 666 }; /* the table's word, the link's word */
    open_log(c, unit_dsn);
    for (int b = 0; b < 2; b++) {
        int64_t value[CALLS];
        for (int i = 0; i < CALLS; i++) {
            value[i] = i == 20 ? bad[b] : 8 * (b * CALLS + i) + 1;
            spawn(5000, append_one, &value[i]);
        }
        join(c);
        for (int i = 0; i < CALLS; i++)
            CHECK(value[i] == SL_EUNAVAIL);
        CHECK(N(c, "select count(*) from t") == 0 && N(c, "select count(*) from log") == 0 &&
              N(c, "select n from head") == 0);
    }
    int64_t number = 1;
    append_one(c, &number);
    CHECK(number == SL_OK && N(c, "select count(*) from t") == 1 && broken(c) == 0);
}
static void a_record_that_cannot_be_appended_fails_its_batch(void **state)
{
    (void)state;
    in_store(refused_body);
}

static void headless_body(call *c)
{
    open_log(c, unit_dsn);
    GOOD(c, "delete from head");
    CHECK(store_commit(c) == SL_OK);
    sl_value record = sl_int(1);
    CHECK(store_append(c, &numbers, &record, 1) == SL_OK);
    CHECK(store_commit(c) == SL_EUNAVAIL && strstr(store_error(c), "the log has no head"));
    CHECK(N(c, "select count(*) from log") == 0);
}
static void a_log_without_its_head_takes_nothing(void **state)
{
    (void)state;
    in_store(headless_body);
}

/* The log's statements beyond the cache's room belong to one call; LeakSanitizer tells what stays of them. */
static void crowded_body(call *c)
{
    open_log(c, "");
    for (int i = 0; i < STATEMENTS_MAX; i++)
        CHECK(store_query(c, NULL, arena_printf(c->arena, "select %d", i), NULL, 0) == SL_OK);
    for (int64_t i = 1; i <= 3; i++) {
        int64_t number = i;
        append_one(c, &number);
        CHECK(number == SL_OK);
    }
    CHECK(N(c, "select n from head") == 3 && broken(c) == 0);
}
static void a_log_whose_statements_find_the_cache_full_leaves_nothing_behind(void **state)
{
    (void)state;
    in_store(crowded_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_stand_in_the_order_of_the_commits),
        cmocka_unit_test(a_record_that_cannot_be_appended_fails_its_batch),
        cmocka_unit_test(a_log_without_its_head_takes_nothing),
        cmocka_unit_test(a_log_whose_statements_find_the_cache_full_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
