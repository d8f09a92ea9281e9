/* test_migrate.c - migrations: order, once each, all or nothing, changed and missing files, several processes at a
 * time. */
#include "store_unit.h"
#include <sys/stat.h>

static char dir[128];
static char why[400];

static void put(const char *name, const char *text)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    CHECK(f && fputs(text, f) >= 0);
    if (f) fclose(f);
}
static void take_away(const char *name)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    CHECK(unlink(path) == 0);
}
static unsigned applied, pending;
static sl_err migrate(call *c, bool apply)
{
    struct migration_set set = { "things", dir };
    return store_migrate(c, &set, apply, &applied, &pending, why, sizeof why);
}
static void start(call *c, const char *dsn)
{
    unit_open(c, dsn);
    snprintf(dir, sizeof dir, "%s/migrations", unit_dir);
    CHECK(mkdir(dir, 0700) == 0);
    put("0001_tables.sql", "-- what; this is\ncreate table things (id {{serial}}, name text not null, data {{blob}}, "
                           "at bigint default ({{now}}));\n"
                           "create unique index things_name on things (name);\n");
    put("0002_rows.sql", "insert into things (name) values ('a;b');\n\ninsert into things (name) values ('it''s');");
    put("README.md", "not a migration");
}

static void body_once(call *c)
{
    start(c, unit_dsn);
    CHECK(migrate(c, false) == SL_OK && applied == 0 && pending == 2);
    CHECK(Q(c, "select * from sl_migrations") == SL_EINVAL); /* checking leaves nothing behind */
    CHECK(migrate(c, true) == SL_OK && applied == 2 && pending == 0);
    CHECK(N(c, "select count(*) from things where name in ('a;b', 'it''s')") == 2);
    CHECK(migrate(c, true) == SL_OK && applied == 0 && pending == 0);
    put("0003_more.sql", "update things set name = 'c' where name = 'a;b';");
    CHECK(migrate(c, false) == SL_OK && pending == 1);
    CHECK(migrate(c, true) == SL_OK && applied == 1 && pending == 0);
    CHECK(N(c, "select count(*) from things where name = 'c'") == 1);
    CHECK(
        N(c,
          "select count(*) from sl_migrations where module = 'things' and length(checksum) = 64 and applied_at > 0") ==
        3);
    CHECK(!store_in_transaction(c));
    store_close(c);
    unit_open(c, unit_dsn); /* and it is remembered */
    CHECK(migrate(c, true) == SL_OK && applied == 0);
}
static void each_file_runs_once_and_in_order(void **state)
{
    (void)state;
    in_store(body_once);
}

static void body_memory(call *c)
{
    start(c, "");
    CHECK(migrate(c, true) == SL_OK && applied == 2);
    struct migration_set none = { "nothing", "/no/such/directory" }, null = { "nothing", NULL };
    CHECK(store_migrate(c, &none, true, NULL, NULL, why, sizeof why) == SL_OK);
    CHECK(store_migrate(c, &null, true, NULL, NULL, why, sizeof why) == SL_OK);
    struct migration_set gone = { "things", NULL };
    CHECK(store_migrate(c, &gone, true, NULL, NULL, why, sizeof why) == SL_ECONFLICT);
    CHECK(strstr(why, "0001_tables.sql was applied but the file is missing") != NULL);
}
static void a_module_without_a_directory_has_no_migrations(void **state)
{
    (void)state;
    in_store(body_memory);
}

static void body_changed(call *c)
{
    start(c, unit_dsn);
    CHECK(migrate(c, true) == SL_OK);
    put("0003_new.sql", "create table never (id text)");
    put("0002_rows.sql", "insert into things (name) values ('changed')");
    for (int apply = 0; apply < 2; apply++) {
        CHECK(migrate(c, apply) == SL_ECONFLICT);
        CHECK(strstr(why, "migrations of things: 0002_rows.sql was changed after it was applied") != NULL);
    }
    CHECK(Q(c, "select * from never") == SL_EINVAL);
    take_away("0003_new.sql");
    take_away("0002_rows.sql");
    CHECK(migrate(c, true) == SL_ECONFLICT);
    CHECK(strstr(why, "0002_rows.sql was applied but the file is missing in") != NULL);
}
static void a_changed_or_missing_applied_file_is_an_error(void **state)
{
    (void)state;
    in_store(body_changed);
}

static void body_names(call *c)
{
    start(c, unit_dsn);
    put("0004_far.sql", "select 1");
    CHECK(migrate(c, false) == SL_EINVAL && strstr(why, "0004_far.sql: number 0003 is missing before it"));
    take_away("0004_far.sql");
    put("0002_again.sql", "select 1");
    CHECK(migrate(c, false) == SL_EINVAL && strstr(why, "has the same number as"));
    take_away("0002_again.sql");
    put("3_short.sql", "select 1");
    CHECK(migrate(c, true) == SL_EINVAL && strstr(why, "3_short.sql: a migration is named NNNN_what.sql"));
    take_away("3_short.sql");
    put("0003_x'; drop.sql", "select 1");
    CHECK(migrate(c, true) == SL_EINVAL);
    CHECK(Q(c, "select * from sl_migrations") == SL_EINVAL);
}
static void gaps_duplicates_and_odd_names_are_errors(void **state)
{
    (void)state;
    in_store(body_names);
}

static void body_failing(call *c)
{
    start(c, unit_dsn);
    put("0003_bad.sql", "create table half (id text);\n\n-- a remark\ninsert into half values ('x');\ninsert into "
                        "nowhere values (1);\n");
    CHECK(migrate(c, true) == SL_EINVAL && applied == 0);
    CHECK(strstr(why, "0003_bad.sql:5: no such table: nowhere") != NULL);
    CHECK(!store_in_transaction(c));
    CHECK(Q(c, "select * from half") == SL_EINVAL); /* nor anything of the files before it */
    CHECK(Q(c, "select * from things") == SL_EINVAL);
    put("0003_bad.sql", "create table half (id text);\ninsert into half values ('open);\n");
    CHECK(migrate(c, true) == SL_EINVAL && strstr(why, "0003_bad.sql:2: malformed SQL: a string is not closed"));
    put("0003_bad.sql", "pragma foreign_keys = off");
    CHECK(migrate(c, true) == SL_EDENIED && strstr(why, "0003_bad.sql:1: pragma is not allowed"));
    put("0003_bad.sql", "create table whole (id text)");
    CHECK(migrate(c, true) == SL_OK && applied == 3);
    GOOD(c, "insert into things (name) values ('x')");
    CHECK(migrate(c, true) == SL_ESTATE);
    store_rollback(c);
}
static void a_failing_script_undoes_all_and_names_its_line(void **state)
{
    (void)state;
    in_store(body_failing);
}

struct racer {
    unsigned applied;
    sl_err e;
};
static void race(call *c, void *arg)
{
    struct racer *r = arg;
    struct migration_set set = { "things", dir };
    char text[400];
    r->e = store_migrate(c, &set, true, &r->applied, NULL, text, sizeof text);
    if (r->e) print_error("%s\n", text);
}
static void body_race(call *c)
{
    struct racer r[8] = { { 0 } };
    unsigned total = 0;
    start(c, unit_dsn);
    for (int i = 0; i < 8; i++)
        spawn(10000, race, &r[i]);
    join(c);
    for (int i = 0; i < 8; i++) {
        CHECK(r[i].e == SL_OK);
        total += r[i].applied;
    }
    CHECK(total == 2);
    CHECK(N(c, "select count(*) from things") == 2);
}
static void eight_starts_at_a_time_apply_once(void **state)
{
    (void)state;
    in_store(body_race);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_file_runs_once_and_in_order),
        cmocka_unit_test(a_module_without_a_directory_has_no_migrations),
        cmocka_unit_test(a_changed_or_missing_applied_file_is_an_error),
        cmocka_unit_test(gaps_duplicates_and_odd_names_are_errors),
        cmocka_unit_test(a_failing_script_undoes_all_and_names_its_line),
        cmocka_unit_test(eight_starts_at_a_time_apply_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
