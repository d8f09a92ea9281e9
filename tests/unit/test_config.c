/* test_config.c - flags, environment, file and defaults: who wins, every type, every error with its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "../../host/config/load.c" /* reaches beside_executable */
#include <stdio.h>

static char directory[] = "/tmp/test_config.XXXXXX", file_path[64];
static buf errors;

static void write_file(const char *name, const char *text)
{
    FILE *f = fopen(name, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* Loads with the given file text (NULL = none), environment and flags, blank separated. */
static struct config *load(const char *yaml, const char *env_text, const char *flag_text)
{
    static char env_room[2000], flag_room[2000], name[] = "appserver", config[] = "-config";
    char *env[40], *argv[40] = { name };
    size_t n_env = 0;
    int argc = 1;
    if (yaml) {
        write_file(file_path, yaml);
        argv[argc++] = config;
        argv[argc++] = file_path;
    }
    (void)snprintf(env_room, sizeof env_room, "%s", env_text ? env_text : "");
    (void)snprintf(flag_room, sizeof flag_room, "%s", flag_text ? flag_text : "");
    for (char *p = strtok(env_room, " "); p; p = strtok(NULL, " "))
        env[n_env++] = p;
    env[n_env] = NULL;
    for (char *p = strtok(flag_room, " "); p; p = strtok(NULL, " "))
        argv[argc++] = p;
    argv[argc] = NULL;
    buf_clear(&errors);
    return config_load(argc, argv, env, &errors);
}

static struct config *loaded_ok(const char *yaml, const char *env, const char *flags)
{
    struct config *c = load(yaml, env, flags);
    if (!c) fail_msg("%.*s", (int)errors.n, errors.p);
    return c;
}

static void assert_error(const char *yaml, const char *env, const char *flags, const char *want)
{
    struct config *c = load(yaml, env, flags);
    if (c) fail_msg("loaded, wanted: %s", want);
    buf_add_char(&errors, 0);
    const char *at = strstr(want, "FILE:") == want ? want + 4 : want;
    if (!strstr(errors.p, at)) fail_msg("got: %s wanted: %s", errors.p, want);
    if (at != want && !strstr(errors.p, file_path)) fail_msg("no file name in: %s", errors.p);
}

static void assert_text(sl_str got, const char *want)
{
    if (!sl_is(got, want)) fail_msg("got \"%.*s\", want \"%s\"", (int)got.n, got.p ? got.p : "", want);
}

static void defaults_without_any_source(void **state)
{
    (void)state;
    struct config *c = loaded_ok("", NULL, NULL);
    assert_int_equal(c->listen.n, 1);
    assert_text(c->listen.item[0], "0.0.0.0:8080");
    assert_text(c->dsn, "");
    assert_int_equal(c->max_body, 1 << 20);
    assert_int_equal(c->page_default, 25);
    assert_int_equal(c->page_max, 500);
    assert_int_equal(c->deadline_ms, 15000);
    assert_int_equal(c->drain_ms, 10000);
    assert_int_equal(c->max_open_conns, 10);
    assert_int_equal(c->max_idle_conns, 5);
    assert_int_equal(c->conn_max_lifetime_ms, 300000);
    assert_true(c->migrate);
    assert_int_equal(c->slow_ms, 100);
    assert_int_equal(c->slow_module_ms, 1000);
    assert_false(c->outbound_allow_private);
    assert_text(c->default_tenant, "default");
    assert_int_equal(c->api_tokens.n, 0);
    assert_null(c->plugins);
    assert_false(c->check || c->print || c->migrate_only || c->show_help || c->show_version);
    config_free(c);
}

static void flag_wins_over_environment_over_file_over_default(void **state)
{
    (void)state;
    const char *yaml = "logging:\n  level: warn\n  format: json\nmodules:\n  slow_ms: 7\n";
    struct config *c = loaded_ok(yaml, "LOG_LEVEL=error MODULE_SLOW_MS=8", "-slow-ms 9");
    assert_text(c->log_level, "error");
    assert_text(c->log_format, "json");
    assert_int_equal(c->slow_ms, 9);
    config_free(c);
    c = loaded_ok(yaml, "LOG_LEVEL=", ""); /* empty is unset: compose files write it so */
    assert_text(c->log_level, "warn");
    assert_int_equal(c->slow_ms, 7);
    config_free(c);
}

static void go_style_flags(void **state)
{
    (void)state;
    struct config *c = loaded_ok(
        "", NULL, "-addr 127.0.0.1:1 --dsn=sqlite:/tmp/x.db -migrate=false -api-tokens=a,b -check -migrate-only");
    assert_text(c->listen.item[0], "127.0.0.1:1");
    assert_text(c->dsn, "sqlite:/tmp/x.db");
    assert_false(c->migrate);
    assert_int_equal(c->api_tokens.n, 2);
    assert_true(c->check && c->migrate_only);
    config_free(c);
    c = loaded_ok("database: {migrate_on_start: false}", NULL, "-dsn sqlite:a -migrate -print-config");
    assert_true(c->migrate && c->print); /* a boolean flag takes no argument */
    config_free(c);
    c = loaded_ok("{database: {dsn: 'sqlite:a'}}", NULL, "-dsn=");
    assert_text(c->dsn, ""); /* back to memory */
    config_free(c);
    assert_error("", NULL, "-adr :1", "unknown flag -adr, did you mean -addr?");
    assert_null(strstr(errors.p, "unexpected argument")); /* its value is not blamed too */
    assert_error("", NULL, "-xyzzyplugh", "unknown flag -xyzzyplugh; -help lists the flags");
    assert_error("", NULL, "-addr", "flag -addr: needs a value");
    assert_error("", NULL, "-check=maybe", "flag -check: must be true or false");
    assert_error("", NULL, "start", "unexpected argument \"start\"");
    assert_error("", NULL, "-slow-ms ten",
                 "flag -slow-ms: must be a time such as 250ms, 15s or 1h30m from 0s to 1h, not \"ten\"");
}

static void help_and_version_answer_even_when_the_rest_is_wrong(void **state)
{
    (void)state;
    struct config *c = loaded_ok("nonsense: 1", "SERVER_PORT=x", "-version");
    assert_true(c->show_version);
    config_free(c);
    c = loaded_ok("nonsense: 1", NULL, "--help");
    assert_true(c->show_help);
    config_free(c);
}

static void every_type_is_converted(void **state)
{
    (void)state;
    struct config *c = loaded_ok("server:\n"
                                 "  max_body: 64KiB\n  max_header_bytes: 8192\n"
                                 "  timeouts: {header: 250ms, body: 15, idle: 1h30m}\n"
                                 "  reuse_port: on\n"
                                 "  trusted_proxies: [10.0.0.0/8, '::1']\n"
                                 "  cors_origins: https://a.example, https://b.example\n"
                                 "modules: {slow_ms: 20, slow_module_ms: 2s}\n",
                                 NULL, NULL);
    assert_int_equal(c->max_body, 65536);
    assert_int_equal(c->max_header_bytes, 8192);
    assert_int_equal(c->header_ms, 250);
    assert_int_equal(c->body_ms, 15000);
    assert_int_equal(c->idle_ms, 5400000);
    assert_true(c->reuse_port);
    assert_int_equal(c->trusted_proxies.n, 2);
    assert_text(c->trusted_proxies.item[1], "::1");
    assert_int_equal(c->cors_origins.n, 2);
    assert_text(c->cors_origins.item[1], "https://b.example");
    assert_int_equal(c->slow_ms, 20);
    assert_int_equal(c->slow_module_ms, 2000);
    config_free(c);
    static const char *const words[] = { "true", "YES", "1", "on", "false", "no", "0", "Off" };
    for (int i = 0; i < 8; i++) {
        char env[64];
        (void)snprintf(env, sizeof env, "OUTBOUND_ALLOW_PRIVATE=%s", words[i]);
        c = loaded_ok("", env, NULL);
        assert_int_equal(c->outbound_allow_private, i < 4);
        config_free(c);
    }
}

static void json_is_read_with_the_same_rules(void **state)
{
    (void)state;
    struct config *c = loaded_ok(
        "{\"server\":{\"port\":9000,\"timeouts\":{\"idle\":\"75s\"}},\n\t\"auth\":{\"tokens\":[\"a/b\",\"\\u0063\"]},"
        "\"plugins\":{\"oracle\":{\"config\":{\"dlq_enabled\":true}}}}",
        NULL, NULL);
    assert_text(c->listen.item[0], "0.0.0.0:9000");
    assert_int_equal(c->idle_ms, 75000);
    assert_text(c->api_tokens.item[0], "a/b");
    assert_text(c->api_tokens.item[1], "c");
    assert_true(json_is_true(json_object_get(c->plugins->config, "dlq_enabled")));
    config_free(c);
    assert_error("{\"server\":\n{\"prot\":1}}", NULL, NULL, "FILE:2: server.prot: unknown key, did you mean `port`?");
}

static void unknown_keys_get_line_and_hint(void **state)
{
    (void)state;
    assert_error("server:\n  host: x\n  prot: 1\n", NULL, NULL,
                 "FILE:3: server.prot: unknown key, did you mean `port`?");
    assert_error("sever: {}\n", NULL, NULL, "FILE:1: sever: unknown key, did you mean `server`?");
    assert_error("plugin: {}\n", NULL, NULL, "FILE:1: plugin: unknown key, did you mean `plugins`?");
    assert_error("server:\n  max_open_conns: 1\n", NULL, NULL, "did you mean `database.max_open_conns`?");
    assert_error("server:\n  timeouts:\n    heder: 1\n", NULL, NULL,
                 "FILE:3: server.timeouts.heder: unknown key, did you mean `header`?");
    assert_error("server:\n  quuxquuxquux: 1\n", NULL, NULL, "FILE:2: server.quuxquuxquux: unknown key\n");
}

static void all_errors_are_gathered(void **state)
{
    (void)state;
    assert_null(load("server:\n  port: 70000\n  max_body: lots\nlogging: {level: loud}\n", "SERVER_REUSE_PORT=perhaps",
                     "-slow-ms -5s -nosuchflag"));
    buf_add_char(&errors, 0);
    static const char *const wants[] = {
        ":2: server.port: must be a whole number from 0 to 65535, not \"70000\"\n",
        ":3: server.max_body: must be a size such as 4096, 64KiB or 1MiB from 1KiB to 1GiB, not \"lots\"\n",
        ":4: logging.level: must be one of debug, info, warn, error, not \"loud\"\n",
        "environment SERVER_REUSE_PORT: must be true or false, not \"perhaps\"\n",
        "flag -slow-ms: must be a time",
        "unknown flag -nosuchflag",
    };
    for (size_t i = 0; i < sizeof wants / sizeof *wants; i++)
        if (!strstr(errors.p, wants[i])) fail_msg("%s\nlacks: %s", errors.p, wants[i]);
}

static void duplicate_keys_are_errors(void **state)
{
    (void)state;
    assert_error("server:\n  port: 1\n  port: 2\n", NULL, NULL,
                 "FILE:3: server: key `port` is given twice, first in line 2");
    assert_error("plugins:\n  a:\n    config: {x: 1,\n      x: 2}\n", NULL, NULL,
                 "FILE:4: plugins.a.config: key `x` is given twice");
}

static void broken_files_are_named(void **state)
{
    (void)state;
    assert_error("server: [1,\n", NULL, NULL, "FILE:2: column 1: did not find expected node content");
    assert_error("a: 1\n---\nb: 2\n", NULL, NULL, "a second document");
    assert_error("- 1\n", NULL, NULL, "FILE:1: the file must hold keys");
    assert_error("server: 5\n", NULL, NULL, "FILE:1: server: must hold keys");
    assert_error("server: {port: [1]}\n", NULL, NULL, "server.port: must be one value");
    assert_error("server: {listen: [[1]]}\n", NULL, NULL, "server.listen: each item must be one value");
    assert_error("server: {host: \"a\\0b\"}\n", NULL, NULL, "server.host: must not contain a NUL");
    assert_error("server: {host: \"\xff\"}\n", NULL, NULL, "FILE:1: invalid leading UTF-8 octet at byte");
    assert_error("a: &a {x: *a}\n", NULL, NULL, "FILE:1: a: unknown key");
    assert_error("plugins: {p: {config: &a {x: *a}}}\n", NULL, NULL, "is nested more than 32 deep");
    assert_error(
        "plugins:\n  p:\n    config:\n      a: &a [1,1,1,1,1,1,1,1,1,1]\n      b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
        "      c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n      d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
        "      e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n",
        NULL, NULL, "the file has more than 100000 values");
    assert_error(NULL, NULL, "-config /nonexistent/x.yaml",
                 "/nonexistent/x.yaml: cannot be read: No such file or directory");
    assert_error(NULL, "CONFIG_FILE=/nonexistent/y.yaml", NULL, "/nonexistent/y.yaml: cannot be read");
    assert_error(NULL, NULL, "-config /tmp", "/tmp: cannot be read: Is a directory");
}

static void values_are_checked_by_their_meaning(void **state)
{
    (void)state;
    assert_error("", "LISTEN_ADDR=localhost", NULL, "environment LISTEN_ADDR: must be HOST:PORT");
    assert_error("", NULL, "-addr ::1:80", "flag -addr: must be HOST:PORT");
    assert_error("", NULL, "-addr :65536", "flag -addr: must be HOST:PORT");
    assert_error("", "TRUSTED_PROXIES=10.0.0.0/33", NULL, "must be an IP address or a block");
    assert_error("", NULL, "-dsn mysql://x", "flag -dsn: must be sqlite:PATH or postgres://...");
    assert_error("", "TLS_CERT_FILE=/nonexistent TLS_KEY_FILE=/nonexistent", NULL,
                 "environment TLS_KEY_FILE: must name a file that can be read");
    assert_error("", "TLS_CERT_FILE=/dev/null", NULL, "environment TLS_CERT_FILE: needs server.tls.key");
    assert_error("server: {page_default: 600}", NULL, NULL,
                 "server.page_default: must not exceed server.page_max (500)");
    assert_error("jobs: {backoff: 1h}", NULL, NULL, "jobs.backoff: must not exceed jobs.backoff_max");
    assert_error("server: {default_tenant: a b}", NULL, NULL, "server.default_tenant: must be 1 to 64");
    assert_error("", "SECRET_ENCRYPTION_KEY=short", NULL, "environment SECRET_ENCRYPTION_KEY: ");
    assert_error("", "CORS_ORIGINS=example.com", NULL, "must be * or an origin");
    static const char *const good[] = { "-addr :8080", "-addr [::1]:0", "-addr unix:/run/x.sock",
                                        "-addr localhost:1,[::]:2" };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        config_free(loaded_ok("", NULL, good[i]));
}

static void host_and_port_make_the_listener(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *env, *want;
    } cases[] = {
        { "server: {host: 127.0.0.1, port: 9}", NULL, "127.0.0.1:9" },
        { "server: {host: '::1', port: 9}", NULL, "[::1]:9" },
        { "server: {listen: [':7'], port: 9}", NULL, ":7" },
        { "server: {listen: [':7']}", "SERVER_PORT=9", "0.0.0.0:9" },
        { "server: {listen: [':7']}", "LISTEN_ADDR=:8 SERVER_PORT=9", ":8" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct config *c = loaded_ok(cases[i].yaml, cases[i].env, NULL);
        assert_int_equal(c->listen.n, 1);
        assert_text(c->listen.item[0], cases[i].want);
        config_free(c);
    }
}

static void parts_make_the_dsn(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *env, *want;
    } cases[] = {
        { "", "DATABASE_HOST=db DATABASE_USER=u DATABASE_PASSWORD=p@/: DATABASE_NAME=n DATABASE_SSLMODE=require",
          "postgres://u:p%40%2F%3A@db:5432/n?sslmode=require" },
        { "database: {name: n}", NULL, "postgres://localhost:5432/n" },
        { "database: {host: '::1', port: 6, name: n}", NULL, "postgres://[::1]:6/n" },
        { "database: {host: /run/postgresql, name: n}", NULL, "postgres://%2Frun%2Fpostgresql:5432/n" },
        { "database: {dsn: 'sqlite:x', host: db}", NULL, "sqlite:x" },
        { "database: {dsn: 'sqlite:x'}", "DATABASE_HOST=db DATABASE_NAME=n", "postgres://db:5432/n" },
        { "database: {dsn: 'sqlite:x'}", "DATABASE_PASSWORD=p", "sqlite:x" },
        { "database: {host: db}", "DATABASE_URL=postgres://h/n", "postgres://h/n" },
        { "", "DATABASE_USER=u", "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct config *c = loaded_ok(cases[i].yaml, cases[i].env, NULL);
        assert_text(c->dsn, cases[i].want);
        config_free(c);
    }
}

static void secrets_come_from_files_too(void **state)
{
    (void)state;
    char path[96], env[256];
    (void)snprintf(path, sizeof path, "%s/token", directory);
    write_file(path, "s3cret\n");
    (void)snprintf(env, sizeof env, "API_TOKENS_FILE=%s METRICS_TOKEN_FILE=%s", path, path);
    struct config *c = loaded_ok("", env, NULL);
    assert_text(c->api_tokens.item[0], "s3cret");
    assert_text(c->metrics_token, "s3cret");
    config_free(c);
    (void)snprintf(env, sizeof env, "API_TOKENS=x API_TOKENS_FILE=%s", path);
    assert_error("", env, NULL, "environment API_TOKENS_FILE: API_TOKENS is set too; set only one of them");
    assert_error("", "DATABASE_URL_FILE=/nonexistent", NULL,
                 "environment DATABASE_URL_FILE: cannot read /nonexistent: No such file");
    assert_error("", "METRICS_TOKEN_FILE=/dev/zero", NULL, "/dev/zero is larger than 64 KiB");
    unlink(path);
}

static void both_token_names_are_joined(void **state)
{
    (void)state;
    struct config *c = loaded_ok("auth: {tokens: [from-file]}", "API_TOKENS=a,,b API_TOKEN=c ADMIN_TOKENS=z", NULL);
    assert_int_equal(c->api_tokens.n, 3);
    assert_text(c->api_tokens.item[2], "c");
    assert_text(c->admin_tokens.item[0], "z");
    config_free(c);
}

static void printed_config_hides_secrets_and_loads_again(void **state)
{
    (void)state;
    const char *yaml = "auth: {tokens: [topsecret1]}\nserver: {timeouts: {idle: 90s}, max_body: 3000}\n"
                       "plugins:\n  oracle:\n    enabled: false\n    config: {resolver_key: topsecret2}\n";
    struct config *c = loaded_ok(yaml, "METRICS_TOKEN=topsecret4 SECRET_ENCRYPTION_KEY=topsecret5topsec",
                                 "-dsn postgres://me:topsecret6@db/n?sslmode=require -slow-ms 55");
    buf out;
    buf_init(&out, 1 << 16);
    config_print(c, &out);
    buf_add_char(&out, 0);
    assert_null(strstr(out.p, "topsecret"));
    static const char *const wants[] = {
        "  tokens: [\"***\"]  # /tmp/test_config.",
        "  token: \"***\"  # environment METRICS_TOKEN\n",
        "    idle: 1m30s  # /tmp/",
        "  dsn: \"postgres://me:***@db/n?sslmode=require\"  # flag -dsn\n",
        "  slow_ms: 55ms  # flag -slow-ms\n",
        "  max_body: 3000  #",
        "  secret_encryption_key: \"***\"  # environment SECRET_ENCRYPTION_KEY\n",
        "    enabled: false\n",
        "  port: 8080  # default\n",
    };
    for (size_t i = 0; i < sizeof wants / sizeof *wants; i++)
        if (!strstr(out.p, wants[i])) fail_msg("%s\nlacks: %s", out.p, wants[i]);
    config_free(c);
    char *line = strstr(out.p, "  secret_encryption_key: \"***\"");
    memcpy(line + 25, "\"\"   ", 5); /* "***" is not a key */
    config_free(loaded_ok(out.p, NULL, NULL));
    buf_free(&out);
}

static void a_dsn_is_shown_without_its_password(void **state)
{
    (void)state;
    static const char *const urls[] = { "postgres://u:topsecret@h/n",
                                        "postgres://u:top@secret@h/n",
                                        "postgres://u:top/secret@h/n",
                                        "postgres://u:top?secret@h/n",
                                        "postgres://h/n?user=u&password=topsecret",
                                        "postgres://:topsecret@h" };
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        char flags[128];
        (void)snprintf(flags, sizeof flags, "-dsn %s", urls[i]);
        struct config *c = loaded_ok("", NULL, flags);
        buf out;
        buf_init(&out, 1 << 16);
        config_print(c, &out);
        buf_add_char(&out, 0);
        if (strstr(out.p, "top") || strstr(out.p, "secret@"))
            fail_msg("%s is shown: %s", urls[i], strstr(out.p, "  dsn:"));
        config_free(c);
        buf_free(&out);
    }
}

static void directories_beside_the_executable(void **state)
{
    (void)state;
    char command[600];
    arena *a = arena_new(0);
    (void)snprintf(command, sizeof command,
                   "cd %s && mkdir -p tree/build/plugins tree/build-address/plugins tree/migrations prefix/bin",
                   directory);
    assert_int_equal(system(command), 0);
    static const struct {
        const char *from, *what, *want;
    } cases[] = {
        { "tree", "plugins", "tree/build/plugins" },
        { "tree/build-address", "plugins", "tree/build-address/plugins" },
        { "tree", "migrations", "tree/migrations" },
        { "tree/build-address", "migrations", "tree/build-address/../migrations" },
        { "prefix/bin", "plugins", "prefix/bin/../lib/service-layer/plugins" },
        { "prefix/bin", "migrations", "prefix/bin/../share/service-layer/migrations" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sl_str from = arena_printf(a, "%s/%s", directory, cases[i].from),
               want = arena_printf(a, "%s/%s", directory, cases[i].want);
        assert_text(beside_executable(a, from.p, cases[i].what).item[0], want.p);
    }
    arena_free(a);
}

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(directory)) return -1;
    (void)snprintf(file_path, sizeof file_path, "%s/config.yaml", directory);
    buf_init(&errors, 1 << 16);
    return chdir(directory);
}

static int tear_down(void **state)
{
    (void)state;
    char command[64];
    buf_free(&errors);
    (void)snprintf(command, sizeof command, "rm -rf %s", directory);
    return chdir("/") || system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_without_any_source),
        cmocka_unit_test(flag_wins_over_environment_over_file_over_default),
        cmocka_unit_test(go_style_flags),
        cmocka_unit_test(help_and_version_answer_even_when_the_rest_is_wrong),
        cmocka_unit_test(every_type_is_converted),
        cmocka_unit_test(json_is_read_with_the_same_rules),
        cmocka_unit_test(unknown_keys_get_line_and_hint),
        cmocka_unit_test(all_errors_are_gathered),
        cmocka_unit_test(duplicate_keys_are_errors),
        cmocka_unit_test(broken_files_are_named),
        cmocka_unit_test(values_are_checked_by_their_meaning),
        cmocka_unit_test(host_and_port_make_the_listener),
        cmocka_unit_test(parts_make_the_dsn),
        cmocka_unit_test(secrets_come_from_files_too),
        cmocka_unit_test(both_token_names_are_joined),
        cmocka_unit_test(printed_config_hides_secrets_and_loads_again),
        cmocka_unit_test(a_dsn_is_shown_without_its_password),
        cmocka_unit_test(directories_beside_the_executable),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
