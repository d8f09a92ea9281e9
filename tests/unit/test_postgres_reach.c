/* test_postgres_reach.c - ways to a PostgreSQL server: TLS, several hosts, connections of limited life; and this tree's
 * migrations. */
#include "postgres_fixture.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <limits.h>

static void shell(const char *format, ...)
{
    char command[2000];
    va_list ap;
    va_start(ap, format);
    vsnprintf(command, sizeof command, format, ap);
    va_end(ap);
    if (system(command)) print_error("failed: %s\n", command);
    assert_int_equal(system("true"), 0);
}

static int tcp_port(void)
{
    char text[64];
    cluster(text, sizeof text, "port", "");
    return atoi(text);
}

/* Results far larger than a TLS record and than libpq's buffer, many at a time: nothing may be left lying in OpenSSL.
 */
static void large_read(call *c)
{
    for (int i = 0; i < 20; i++) {
        const sl_rows *r = NULL;
        CHECK_ERR(query(c, &r, "select repeat('x', 200000 + $1::int * 1111), i from generate_series(1, 3) i", I(i)),
                  SL_OK);
        CHECK(r && r->rows == 3 && r->cells[0].s.n == 200000u + (unsigned)i * 1111u);
    }
}
static void large_write(call *c)
{
    static char big[900000];
    memset(big, 'y', sizeof big);
    int64_t id = world.seen[0]++;
    CHECK_ERR(query(c, NULL, "insert into things values ($1, $2)", I(id),
                    ((sl_value){ .type = SL_TEXT, .s = { big, sizeof big } })),
              SL_OK);
    CHECK_ERR(store_commit(c), SL_OK);
    const sl_rows *r = NULL;
    CHECK_ERR(query(c, &r, "select name from things where id = $1", I(id)), SL_OK);
    CHECK(r && r->cells[0].s.n == sizeof big && !memcmp(r->cells[0].s.p, big, sizeof big));
}
static void tls(call *c)
{
    char dsn[300];
    snprintf(dsn, sizeof dsn,
             "postgres://postgres@127.0.0.1:%d/postgres?sslmode=verify-ca&sslrootcert=%s/server.crt&sl_direct=1",
             tcp_port(), cluster_dir);
    CHECK_ERR(open_store(c, dsn, 3), SL_OK);
    CHECK_ERR((int)number(c, "select count(*) from pg_stat_ssl where ssl and pid = pg_backend_pid()"), 1);
    make_table(c);
    for (int i = 0; i < 6; i++)
        spawn(large_read, 20000);
    for (int i = 0; i < 10; i++)
        spawn(large_write, 20000);
    join(c);
    store_close(c);
}
static void tls_leaves_nothing_lying(void **state)
{
    (void)state;
    shell("cd %s && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out "
          "server.crt -days 2 "
          "-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 2>/dev/null && cp server.crt server.key data/ && "
          "chown --reference=data data/server.key data/server.crt && chmod 600 data/server.key && "
          "psql -q '%s' -c 'alter system set ssl = on' -c 'select pg_reload_conf()' >/dev/null",
          cluster_dir, cluster_dsn);
    usleep(300000);
    on_loop(tls);
}

static void hosts(call *c)
{
    char dsn[300];
    int port = tcp_port();
    snprintf(dsn, sizeof dsn, "postgres://postgres@127.0.0.1:1,127.0.0.1:%d/postgres?target_session_attrs=read-write",
             port);
    CHECK_ERR(open_store(c, dsn, 2), SL_OK);
    CHECK_ERR((int)number(c, "select 5"), 5);
    store_close(c);
    /* The first host takes connections and never answers. */
    snprintf(dsn, sizeof dsn, "postgres://postgres@127.0.0.1:%d,127.0.0.1:%d/postgres", world.seen[0], port);
    struct store_config cfg = config(dsn, 2);
    char why[200];
    cfg.connect_ms = 4500;
    CHECK_ERR(store_open(c, &cfg, why, sizeof why), SL_OK);
    CHECK_ERR((int)number(c, "select 6"), 6);
    store_close(c);
    /* Nothing but silence: the caller is told within its time, and closing ends. */
    snprintf(dsn, sizeof dsn, "postgres://postgres@127.0.0.1:%d/postgres", world.seen[0]);
    cfg = config(dsn, 2);
    cfg.connect_ms = 500;
    uint64_t start = uv_hrtime();
    CHECK_ERR(store_open(c, &cfg, why, sizeof why), SL_EUNAVAIL);
    CHECK(uv_hrtime() - start < 4000000000u);
}
static int silent_port;
static void with_silence(call *c)
{
    world.seen[0] = silent_port;
    hosts(c);
}
static void several_hosts_and_silent_ones(void **state)
{
    (void)state;
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof at;
    int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(s, 50), 0);
    getsockname(s, (struct sockaddr *)&at, &n);
    silent_port = ntohs(at.sin_port);
    on_loop(with_silence);
    close(s);
}

static void busy(call *c)
{
    for (int i = 0; i < 100; i++) {
        CHECK_ERR((int)number(c, "select 7"), 7);
        call_sleep(c, 5);
    }
}
static void life(call *c)
{
    struct store_config cfg = config(direct(), 6);
    char why[200];
    cfg.lifetime_ms = 200;
    CHECK_ERR(store_open(c, &cfg, why, sizeof why), SL_OK);
    int64_t first = number(c, "select pg_backend_pid()");
    for (int i = 0; i < 10; i++)
        spawn(busy, 20000);
    join(c);
    CHECK(number(c, "select pg_backend_pid()") != first && store_stats().up);
    store_close(c);
    cfg.lifetime_ms = 0;
    cfg.max_idle = 2;
    CHECK_ERR(store_open(c, &cfg, why, sizeof why), SL_OK);
    for (int i = 0; i < 60; i++)
        spawn(busy, 20000);
    call_sleep(c, 300);
    CHECK(store_stats().open > 2);
    join(c);
    call_sleep(c, 7500); /* those that are too many are kept some seconds, for the next wave */
    CHECK_ERR(store_stats().open, 2);
    store_close(c);
}
static void connections_have_limited_lives(void **state)
{
    (void)state;
    on_loop(life);
}

/* ---- this tree's own migrations run on PostgreSQL ---- */

static struct migration_set sets[64];
static void migrations(call *c)
{
    char why[400] = "";
    unsigned applied = 0, pending = 0, left = UINT_MAX, before;
    CHECK_ERR(open_store(c, direct(), 2), SL_OK);
    do { /* a module that needs another's tables goes again after it */
        before = left;
        left = 0;
        for (const struct migration_set *s = sets; s->module; s++)
            left += store_migrate(c, s, true, &applied, &pending, why, sizeof why) != 0;
    } while (left && left < before);
    if (left) print_error("%s\n", why);
    CHECK_ERR((int)left, 0);
    for (const struct migration_set *s = sets; s->module; s++) {
        CHECK_ERR(store_migrate(c, s, true, &applied, &pending, why, sizeof why), SL_OK);
        CHECK_ERR((int)applied, 0);
    }
    store_close(c);
}
static void the_trees_migrations_run(void **state)
{
    (void)state;
    char root[512];
    ssize_t n = readlink("/proc/self/exe", root, sizeof root - 20);
    root[n > 0 ? n : 0] = 0;
    for (int up = 0; up < 3; up++)
        *strrchr(root, '/') = 0;
    strcat(root, "/migrations");
    size_t count = 0;
    DIR *dir = opendir(root);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) && count < 63;) {
        if (e->d_name[0] == '.') continue;
        char path[1024];
        snprintf(path, sizeof path, "%s/%s", root, e->d_name);
        sets[count++] = (struct migration_set){ strdup(e->d_name), strdup(path) };
    }
    closedir(dir);
    assert_true(count > 0);
    on_loop(migrations);
    while (count--) {
        free((char *)sets[count].module);
        free((char *)sets[count].dir);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tls_leaves_nothing_lying),
        cmocka_unit_test(several_hosts_and_silent_ones),
        cmocka_unit_test(connections_have_limited_lives),
        cmocka_unit_test(the_trees_migrations_run),
    };
    if (getenv("TEST")) cmocka_set_test_filter(getenv("TEST"));
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
