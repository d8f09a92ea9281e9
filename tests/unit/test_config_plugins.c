/* test_config_plugins.c - the plugins section, and a plugin's configuration by its schema. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "config/config.h"
#include <service_layer/plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char file_path[] = "/tmp/test_config_plugins.XXXXXX";
static buf errors;

/* The plugin's own schema, written as plugins write theirs. */
#define ORACLE                                                                                                         \
    SL_OBJECT(                                                                                                         \
        SL_OPTIONAL("ttl", SL_DURATION SL_DEFAULT("\"5m\"") SL_ENV("ORACLE_TTL_SECONDS"), "Life of a request."),       \
        SL_OPTIONAL("backoff", SL_DURATION SL_ENV("ORACLE_BACKOFF ORACLE_BACKOFF_MS"), "Delay."),                      \
        SL_OPTIONAL("max_attempts", SL_INTEGER(1, 100) SL_DEFAULT("3") SL_ENV("ORACLE_MAX_ATTEMPTS"), "Attempts."),    \
        SL_OPTIONAL("dlq_enabled", SL_BOOLEAN SL_DEFAULT("false") SL_ENV("ORACLE_DLQ_ENABLED"), "Dead letters."),      \
        SL_OPTIONAL("runner_tokens", SL_LIST(SL_STRING(1, 200), 100) SL_ENV("ORACLE_RUNNER_TOKENS") SL_SECRET, "T."),  \
        SL_OPTIONAL("ports", SL_LIST(SL_INTEGER(1, 65535), 9) SL_ENV("ORACLE_PORTS"), "Ports."),                       \
        SL_OPTIONAL("resolver_key", SL_STRING(0, 200) SL_ENV("ORACLE_RESOLVER_KEY") SL_SECRET, "Key."),                \
        SL_OPTIONAL("limits", SL_ANY_OBJECT SL_ENV("ORACLE_LIMITS"), "Limits."),                                       \
        SL_OPTIONAL("ratio", "\"type\":\"number\"" SL_ENV("ORACLE_RATIO"), "A number."))

static struct config *load(const char *yaml)
{
    static char name[] = "appserver", flag[] = "-config";
    char *argv[] = { name, flag, file_path, NULL }, *env[] = { NULL };
    FILE *f = fopen(file_path, "w");
    assert_non_null(f);
    fputs(yaml, f);
    fclose(f);
    buf_clear(&errors);
    return config_load(3, argv, env, &errors);
}

/* The oracle's configuration as sorted JSON text, or NULL with errors. */
static char *effective(const char *yaml, char **env)
{
    static char *none[] = { NULL };
    char why[200], *text = NULL;
    struct config *c = load(yaml);
    json_t *schema = json_read(SL(ORACLE), why, sizeof why);
    if (!c || !schema) fail_msg("%s %.*s", schema ? "" : why, (int)errors.n, errors.p);
    json_t *v = config_for_plugin(c, "oracle", schema, env ? env : none, &errors);
    if (v) text = json_dumps(v, JSON_SORT_KEYS | JSON_COMPACT);
    json_decref(v);
    json_decref(schema);
    config_free(c);
    return text;
}

static void assert_effective(const char *yaml, char **env, const char *want)
{
    char *got = effective(yaml, env);
    if (!got) fail_msg("%.*s", (int)errors.n, errors.p);
    assert_string_equal(got, want);
    free(got);
}

static void assert_refused(const char *yaml, char **env, const char *want)
{
    char *got = effective(yaml, env);
    if (got) fail_msg("accepted: %s", got);
    buf_add_char(&errors, 0);
    if (!strstr(errors.p, want)) fail_msg("got: %s wanted: %s", errors.p, want);
}

static void the_section_is_read_in_file_order(void **state)
{
    (void)state;
    struct config *c = load(
        "plugins:\n  oracle:\n    required: yes\n    isolation: none\n    config:\n      a: 1\n\n      b: [x]\n"
        "  random: {enabled: false}\n  gasbank:\n");
    if (!c) fail_msg("%.*s", (int)errors.n, errors.p);
    const struct plugin_config *p = c->plugins;
    assert_string_equal(p->name, "oracle");
    assert_true(p->enabled && p->required);
    assert_string_equal(p->isolation, "none");
    assert_int_equal(p->line, 2);
    assert_int_equal(config_plugin_line(c, "oracle", "a"), 6);
    assert_int_equal(config_plugin_line(c, "oracle", "b"), 8);
    assert_int_equal(config_plugin_line(c, "oracle", NULL), 2);
    assert_int_equal(config_plugin_line(c, "oracle", "nosuch"), 0);
    assert_int_equal(config_plugin_line(c, "nosuch", "a"), 0);
    p = p->next;
    assert_string_equal(p->name, "random");
    assert_false(p->enabled || p->required);
    assert_null(p->isolation);
    p = p->next;
    assert_string_equal(p->name, "gasbank");
    assert_true(p->enabled);
    assert_null(p->next);
    config_free(c);
}

static void mistakes_in_the_section_are_named(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        { "plugins: {oracle: {enabld: true}}", ":1: plugins.oracle.enabld: unknown key, did you mean `enabled`?" },
        { "plugins:\n  oracle:\n    max_attempts: 3\n",
          ":3: plugins.oracle.max_attempts: unknown key; a plugin's own settings stand under `config`" },
        { "plugins: {oracle: {enabled: sometimes}}", "plugins.oracle.enabled: must be true or false" },
        { "plugins: {oracle: {isolation: vm}}", "plugins.oracle.isolation: must be one of none, process" },
        { "plugins: {oracle: true}", "plugins.oracle: must hold keys" },
        { "plugins: {oracle: {config: [1]}}", "plugins.oracle.config: must hold keys" },
        { "plugins: [oracle]", ":1: plugins: must hold the names of plugins" },
        { "plugins: {../x: {}}", "cannot be the name of a plugin" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_null(load(cases[i][0]));
        buf_add_char(&errors, 0);
        if (!strstr(errors.p, cases[i][1])) fail_msg("got: %s wanted: %s", errors.p, cases[i][1]);
    }
}

static void defaults_file_and_environment_in_this_order(void **state)
{
    (void)state;
    assert_effective("", NULL, "{\"dlq_enabled\":false,\"max_attempts\":3,\"ttl\":\"5m\"}");
    const char *yaml = "plugins: {oracle: {config: {max_attempts: 5, dlq_enabled: true, backoff: null}}}";
    assert_effective(yaml, NULL, "{\"dlq_enabled\":true,\"max_attempts\":5,\"ttl\":\"5m\"}");
    char attempts[] = "ORACLE_MAX_ATTEMPTS=7", dlq[] = "ORACLE_DLQ_ENABLED=", *env[] = { attempts, dlq, NULL };
    assert_effective(yaml, env, "{\"dlq_enabled\":true,\"max_attempts\":7,\"ttl\":\"5m\"}");
}

static void environment_text_is_converted_by_type(void **state)
{
    (void)state;
    char ttl[] = "ORACLE_TTL_SECONDS=300", backoff[] = "ORACLE_BACKOFF_MS=250", dlq[] = "ORACLE_DLQ_ENABLED=Yes",
         tokens[] = "ORACLE_RUNNER_TOKENS=a,b;c  d, ", ports[] = "ORACLE_PORTS=80 443",
         limits[] = "ORACLE_LIMITS={\"x\":1}", ratio[] = "ORACLE_RATIO=0.5",
         *env[] = { ttl, backoff, dlq, tokens, ports, limits, ratio, NULL };
    assert_effective(
        "", env,
        "{\"backoff\":\"250ms\",\"dlq_enabled\":true,\"limits\":{\"x\":1},\"max_attempts\":3,\"ports\":[80,443],"
        "\"ratio\":0.5,\"runner_tokens\":[\"a\",\"b\",\"c\",\"d\"],\"ttl\":\"300s\"}");
    char bad1[] = "ORACLE_MAX_ATTEMPTS=x", *env1[] = { bad1, NULL };
    assert_refused("", env1, "environment ORACLE_MAX_ATTEMPTS: must be a whole number");
    char bad2[] = "ORACLE_PORTS=80,http", *env2[] = { bad2, NULL };
    assert_refused("", env2, "environment ORACLE_PORTS: must be a list");
    char bad3[] = "ORACLE_LIMITS=[1]", *env3[] = { bad3, NULL };
    assert_refused("", env3, "environment ORACLE_LIMITS: must be a JSON object");
}

static void file_values_are_taken_as_meant(void **state)
{
    (void)state;
    assert_effective("plugins: {oracle: {config: {ttl: 300, max_attempts: '4', dlq_enabled: on, resolver_key: 12345, "
                     "runner_tokens: 'a, b'}}}",
                     NULL,
                     "{\"dlq_enabled\":true,\"max_attempts\":4,\"resolver_key\":\"12345\",\"runner_tokens\":[\"a\","
                     "\"b\"],\"ttl\":\"300s\"}");
    /* What does not fit stays as it is, for the schema check to name. */
    assert_effective("plugins: {oracle: {config: {max_attempts: many}}}", NULL,
                     "{\"dlq_enabled\":false,\"max_attempts\":\"many\",\"ttl\":\"5m\"}");
    /* No octal, no sexagesimal, no surprising truth values. */
    assert_effective(
        "plugins: {oracle: {config: {limits: {a: 0755, b: 1:30, c: no, d: 1e3, e: -7, f: '7', g: .inf, h: ~}}}}", NULL,
        "{\"dlq_enabled\":false,\"limits\":{\"a\":\"0755\",\"b\":\"1:30\",\"c\":\"no\",\"d\":1000.0,\"e\":-7,\"f\":"
        "\"7\","
        "\"g\":\".inf\",\"h\":null},\"max_attempts\":3,\"ttl\":\"5m\"}");
}

static void unknown_keys_are_refused_with_line_and_hint(void **state)
{
    (void)state;
    assert_refused("plugins:\n  oracle:\n    config:\n      max_atempts: 3\n      zzzzzzzz: 1\n", NULL,
                   ":4: plugins.oracle.config.max_atempts: unknown key, did you mean `max_attempts`?");
    assert_non_null(strstr(errors.p, ":5: plugins.oracle.config.zzzzzzzz: unknown key\n"));
}

static void a_secret_comes_from_a_file(void **state)
{
    (void)state;
    char path[] = "/tmp/test_config_secret.XXXXXX", variable[128], direct[] = "ORACLE_RESOLVER_KEY=x",
         attempts[] = "ORACLE_MAX_ATTEMPTS_FILE=/nonexistent"; /* not a secret: no _FILE variant */
    int fd = mkstemp(path);
    assert_true(write(fd, "hidden \r\n", 9) == 9);
    close(fd);
    (void)snprintf(variable, sizeof variable, "ORACLE_RESOLVER_KEY_FILE=%s", path);
    char *env[] = { variable, attempts, NULL }, *both[] = { variable, direct, NULL };
    assert_effective("", env, "{\"dlq_enabled\":false,\"max_attempts\":3,\"resolver_key\":\"hidden \",\"ttl\":\"5m\"}");
    assert_refused("", both, "environment ORACLE_RESOLVER_KEY_FILE: ORACLE_RESOLVER_KEY is set too");
    unlink(path);
}

static void effective_config_is_printed_without_secrets(void **state)
{
    (void)state;
    char why[200];
    struct config *c = load("plugins:\n  oracle: {required: true}\n  random: {enabled: false}\n");
    assert_non_null(c);
    json_t *schema = json_read(SL(ORACLE), why, sizeof why);
    json_t *config = json_pack("{s:s, s:i, s:[s,s], s:{s:[]}}", "resolver_key", "topsecret", "max_attempts", 3,
                               "runner_tokens", "topsecret", "x", "limits", "a");
    buf out;
    buf_init(&out, 1 << 16);
    config_print(c, &out);
    config_print_plugin(c, "oracle", true, schema, config, &out);
    config_print_plugin(c, "secrets", false, schema, NULL, &out);
    buf_add_char(&out, 0);
    assert_null(strstr(out.p, "topsecret"));
    const char *at = strstr(out.p, "    enabled: false\n");
    assert_non_null(at);
    assert_string_equal(at, "    enabled: false\n"
                            "  oracle:\n    enabled: true\n    required: true\n    isolation: process\n    config:\n"
                            "      \"resolver_key\": \"***\"\n      \"max_attempts\": 3\n"
                            "      \"runner_tokens\": [\"***\", \"***\"]\n      \"limits\": \n        \"a\": []\n"
                            "  secrets:\n    enabled: true\n    required: false\n    isolation: none\n");
    config_free(c);
    c = load(out.p); /* it is one document that loads again */
    if (!c) fail_msg("%.*s", (int)errors.n, errors.p);
    assert_int_equal(json_integer_value(json_object_get(c->plugins->next->config, "max_attempts")), 3);
    config_free(c);
    buf_free(&out);
    json_decref(config);
    json_decref(schema);
}

static int set_up(void **state)
{
    (void)state;
    int fd = mkstemp(file_path);
    buf_init(&errors, 1 << 16);
    return fd < 0 || close(fd);
}

static int tear_down(void **state)
{
    (void)state;
    buf_free(&errors);
    return unlink(file_path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_section_is_read_in_file_order),
        cmocka_unit_test(mistakes_in_the_section_are_named),
        cmocka_unit_test(defaults_file_and_environment_in_this_order),
        cmocka_unit_test(environment_text_is_converted_by_type),
        cmocka_unit_test(file_values_are_taken_as_meant),
        cmocka_unit_test(unknown_keys_are_refused_with_line_and_hint),
        cmocka_unit_test(a_secret_comes_from_a_file),
        cmocka_unit_test(effective_config_is_printed_without_secrets),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
