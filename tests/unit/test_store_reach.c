/* test_store_reach.c - which tables a statement names: every way to one is seen, and no way around is left. */
#include "store/sql.h"
#include "unit.h"

static char why[300];

/* mine and my_* are granted. */
static bool granted(void *arg, sl_str name)
{
    (void)arg;
    return sl_is(name, "mine") || (name.n > 3 && memcmp(name.p, "my_", 3) == 0);
}

static enum sql_reached reach(const char *sql)
{
    static const struct sql_reach ask = { .table = granted };
    why[0] = 0;
    return sql_reach(sl_cstr(sql), &ask, why, sizeof why);
}

static void check(const char *const *statements, enum sql_reached wanted)
{
    for (; *statements; statements++) {
        enum sql_reached found = reach(*statements);
        if (found != wanted) fail_msg("%s: %d instead of %d (%s)", *statements, (int)found, (int)wanted, why);
        assert_int_equal(found == SQL_WITHIN, why[0] == 0);
    }
}

static void ordinary_statements_are_within(void **state)
{
    (void)state;
    static const char *const good[] = {
        "select 1",
        "select count(*) as n from mine",
        "select a.x, b.y from mine a join my_other as b on a.id = b.id, my_third c where a.x in ($1, $2) order by 1, 2 "
        "limit 5",
        "select * from mine m left join (select id, max(at) as at from my_rows group by id, kind) x using (id, at), "
        "my_c",
        "insert into mine (id, a, b) values ($1, $2, 1e5), ($3, $4, 1.5e-3) on conflict (id) do update set a = "
        "excluded.a, "
        "b = 2 returning *",
        "insert into \"mine\" select * from \"My_Rows\"",
        "update mine set a = $1, b = coalesce(b, 0) + 1 where id = $2 and version = $3 returning *",
        "update mine as m set a = o.a from my_other o, my_third where o.id = m.id",
        "delete from mine where id in (select id from my_old order by at limit 100)",
        "delete from mine using my_other o, my_third where o.id = mine.id",
        "with old as (select * from mine), newer(a, b) as (select * from old, my_rows) select * from newer join old on "
        "true",
        "with recursive t(n) as (values (1) union all select n + 1 from t where n < 5) select n from t",
        "with gone as (delete from mine returning *) insert into my_old select * from gone",
        "select extract(epoch from at), substring(a from 1 for 2), trim(both from a), position('a' in a) from mine",
        "select a is not distinct from b, a is distinct from secrets from mine",
        "select * from mine for update skip locked",
        "select * from mine for no key update",
        "select case when exists (select 1 from my_x where y = z) then (a) else lower(b) end from mine",
        "select sum(n) over (partition by a, b order by c), count(*) filter (where x) from mine",
        "select * from (mine join (my_a cross join my_b) on true)",
        "select a::text, cast(b as numeric(10, 2)), $1::text from mine",
        "select * from json_each($1) as j, lateral (select 1) x, mine",
        "select 'from secrets', \"from secrets\" /* from secrets */ from mine -- from secrets\n",
        "select * from only mine",
        "select * from mine where a = $1 {{page}}",
        "(select a from mine) union (select b from my_b)",
        "values (1, 2), (3, 4)",
        "replace into mine values (1)",
        "select replace(a, 'x', 'y') from mine where x in (1) and y not in (select z from my_z)",
        NULL,
    };
    check(good, SQL_WITHIN);
}

static void every_way_to_a_table_is_seen(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "select * from secrets",
        "select * from mine, secrets",
        "select * from mine m, my_b as x, secrets",
        "select * from mine join secrets on true",
        "select * from mine join my_b using (id), secrets",
        "select * from mine join my_b on a = b, secrets",
        "select * from (secrets)",
        "select * from ((mine join (secrets) on true))",
        "select (select a from secrets)",
        "select count((select a from secrets))",
        "select extract(epoch from (select a from secrets))",
        "select a from mine union all select a from secrets",
        "select * from mine where a in (select a from secrets)",
        "select * from mine where a in secrets",
        "select * from mine where a not in secrets",
        "select * from mine order by (select 1 from secrets)",
        "select * from \"secrets\"",
        "select * from 'secrets'",
        "select * from SECRETS",
        "select * from/**/secrets",
        "select distinct from secrets",
        "select * from only secrets",
        "select * from lateral secrets",
        "insert into secrets values (1)",
        "insert into mine select * from secrets",
        "insert into mine table secrets",
        "select * from mine union table secrets",
        "with x as (select 1) table secrets",
        "with x as (select 1) (select 1) union table secrets",
        "update secrets set a = 1",
        "update mine set a = 1 from secrets",
        "update mine set a = (select b from secrets)",
        "delete from secrets",
        "delete from mine using secrets",
        "delete from mine using my_a join my_b on true, secrets",
        "select 1 into secrets",
        "replace into secrets values (1)",
        "insert into mine values (1) on conflict (a) do update set a = (select b from secrets)",
        "insert into mine values (1) returning (select a from secrets)",
        "with x as (select * from secrets) select * from x",
        "with x as materialized (delete from secrets returning *) select * from x",
        "with x as (select 1) select * from x, secrets",
        "with secrets as (select * from secrets) select * from secrets",
        "with secrets(a) as (select * from secrets) select 1",
        "with secrets as (select 1) delete from secrets",
        "with secrets as (select 1) insert into secrets select 1",
        "with secrets as (select 1) update secrets set a = 1",
        "select * from (with secrets as (select 1) select 1) x, secrets",
        "with a as (select * from b), b as (select 1) select 1",
        "select * from mine fetch, secrets",
        "select * from mine offset, secrets",
        "select * from mine set, secrets",
        "select * from mine for, secrets",
        "select * from sqlite_master",
        "select * from mine natural join pg_class",
        NULL,
    };
    check(bad, SQL_DENIED);
    assert_int_equal(reach("select * from mine join \"Secrets\" s on true"), SQL_DENIED);
    assert_non_null(strstr(why, "names the table \"Secrets\", which is not among the plugin's grants"));
}

static void what_could_mean_something_else_is_unclear(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "select * from public.mine",
        "select * from main.mine",
        "select pg_read_file('/etc/passwd')",
        "select query_to_xml('select * from secrets', true, true, '')",
        "select pg_catalog.lower('x')",
        "select \"query_to_xml\"('x')",
        "select * from dblink('x')",
        "select * from mine, pragma_table_info('secrets')",
        "select * from rows from (pg_ls_dir('.'))",
        "select current_setting('x')",
        "create table mine (a text)",
        "alter table mine inherit secrets",
        "drop table mine",
        "create index i on mine (a)",
        "truncate mine",
        "explain select * from mine",
        "merge into mine using my_b on true when matched then delete",
        "select t.e'\\' from secrets, mine t --'",
        "select $$ from secrets $$ from mine",
        "select $a$ from secrets $a$ from mine",
        "select [x'] from secrets where [y'] = 1",
        "select $1(')from/**/secrets--')",
        "select $1::(')from/**/secrets--')",
        "select :a from mine",
        "select @a(x) from mine",
        "select #a from mine",
        "select a:::b(x) from mine",
        "select 1from secrets",
        "select .5from secrets",
        "select 1e from secrets",
        "select * from mine -- x\r union select * from secrets",
        "select * from U&\"secr\\0065ts\"",
        "select * from",
        "select * from mine,",
        "select * from (",
        "select )",
        "lower(from secrets)",
        "select lower(a from secrets)",
        "update (mine) set a = 1",
        "select * from {{x}}",
        NULL,
    };
    for (size_t i = 0; bad[i]; i++) {
        enum sql_reached found = reach(bad[i]);
        if (found == SQL_WITHIN) fail_msg("%s: is within", bad[i]);
        assert_true(why[0] != 0);
    }
    assert_int_equal(reach("select pg_sleep(5)"), SQL_UNCLEAR);
    assert_string_equal(why, "calls the function pg_sleep, which is not one that plugins may call");
}

static void depth_and_number_of_names_are_limited(void **state)
{
    (void)state;
    char text[4096] = "select ";
    for (int i = 0; i < 500; i++)
        strcat(text, "(");
    assert_int_equal(reach(text), SQL_UNCLEAR);
    strcpy(text, "with a0 as (select 1)");
    for (int i = 1; i < 100; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), ", a%d as (select 1)", i);
    strcat(text, " select 1");
    assert_int_equal(reach(text), SQL_UNCLEAR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ordinary_statements_are_within),
        cmocka_unit_test(every_way_to_a_table_is_seen),
        cmocka_unit_test(what_could_mean_something_else_is_unclear),
        cmocka_unit_test(depth_and_number_of_names_are_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
