/* test_config_doc.c - docs/configuration.md, -help and the shipped samples say what the table of settings says. Run in
 * the tree's top. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "config/settings.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char *slurp(const char *name)
{
    static char text[4][1 << 17];
    static int at;
    FILE *f = fopen(name, "r");
    if (!f) fail_msg("cannot read %s: run the unit tests in the top directory of the tree", name);
    char *p = text[at++ % 4];
    p[fread(p, 1, sizeof *text - 1, f)] = 0;
    fclose(f);
    return p;
}

static void add_type(const struct setting *s, buf *b)
{
    static const char *const names[] = { "text", "number", "true, false", "duration", "size", "list", "" };
    buf_add_cstr(b, names[s->type]);
    if (s->choices) {
        sl_str rest = sl_cstr(s->choices), one;
        for (const char *gap = ""; str_split(&rest, '|', &one); gap = ", ")
            buf_printf(b, "%s%.*s", gap, STR_ARG(one));
    }
    if (s->type != SET_INT && s->type != SET_DURATION && s->type != SET_SIZE) return;
    buf_add_cstr(b, ", ");
    config_show_int(s, s->min, b);
    buf_add_cstr(b, " to ");
    config_show_int(s, s->max, b);
}

/* The row that documents a setting. */
static const char *row(const struct setting *s, buf *b)
{
    char derived[80];
    sl_str rest = sl_cstr(s->env ? s->env : ""), one;
    buf_clear(b);
    buf_printf(b, "| `%s` | ", s->path);
    add_type(s, b);
    if (s->initial[0])
        buf_printf(b, " | `%s` | ", s->initial);
    else
        buf_add_cstr(b, " | | ");
    while (rest.n && str_split(&rest, ' ', &one))
        buf_printf(b, "`%.*s` ", STR_ARG(one));
    buf_printf(b, "`%s`%s", config_env_name(s, derived, sizeof derived), s->secret ? " or its `_FILE`" : "");
    if (s->flag) buf_printf(b, " `-%s`", s->flag);
    buf_printf(b, " | %s |", s->doc);
    buf_add_char(b, 0);
    return b->p;
}

static void every_setting_has_its_row(void **state)
{
    (void)state;
    const char *doc = slurp("docs/configuration.md");
    size_t missing = 0;
    buf b;
    buf_init(&b, 4096);
    for (size_t i = 0; i < n_settings; i++) {
        if (strstr(doc, row(&settings[i], &b))) continue;
        if (missing++ == 0) puts("docs/configuration.md lacks these rows:");
        puts(b.p);
    }
    buf_free(&b);
    assert_int_equal(missing, 0);
}

/* The other way round: no row for what does not exist. */
static void no_row_without_a_setting(void **state)
{
    (void)state;
    const char *at = slurp("docs/configuration.md");
    size_t rows = 0;
    while ((at = strstr(at, "\n| `"))) {
        at += 4;
        const char *dot = strpbrk(at, ".`");
        if (*dot == '.' && strncmp(at, "plugins.", 8) != 0) rows++;
    }
    assert_int_equal(rows, n_settings);
}

static void help_names_every_flag_key_and_variable(void **state)
{
    (void)state;
    buf b;
    char name[80];
    buf_init(&b, 1 << 17);
    config_usage(&b);
    buf_add_char(&b, 0);
    assert_false(b.overflow);
    const char *doc = slurp("docs/configuration.md");
    for (size_t i = 0; i < n_settings; i++) {
        assert_non_null(strstr(b.p, settings[i].path));
        assert_non_null(strstr(b.p, config_env_name(&settings[i], name, sizeof name)));
        if (settings[i].env) assert_non_null(strstr(b.p, settings[i].env));
        if (!settings[i].flag) continue;
        (void)snprintf(name, sizeof name, "  -%s", settings[i].flag);
        assert_non_null(strstr(b.p, name));
    }
    for (size_t i = 0; i < n_commands; i++) {
        if (!commands[i].doc) continue;
        (void)snprintf(name, sizeof name, "  -%s\n", commands[i].flag);
        assert_non_null(strstr(b.p, name));
        (void)snprintf(name, sizeof name, "`-%s`", commands[i].flag);
        assert_non_null(strstr(doc, name));
    }
    const char *const others[] = { "config", "check-plugin", "o", "audit-verify" }; /* with a value of their own */
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        (void)snprintf(name, sizeof name, "  -%s ", others[i]);
        assert_non_null(strstr(b.p, name));
        (void)snprintf(name, sizeof name, "| `-%s", others[i]);
        assert_non_null(strstr(doc, name));
    }
    buf_free(&b);
}

static void load_sample(const char *path, bool expect_defaults)
{
    char name[] = "appserver", flag[] = "-config", file[256], *argv[] = { name, flag, file, NULL }, *env[] = { NULL };
    buf errors;
    (void)snprintf(file, sizeof file, "%s", path);
    buf_init(&errors, 1 << 16);
    struct config *c = config_load(3, argv, env, &errors);
    if (!c) fail_msg("%.*s", (int)errors.n, errors.p);
    const struct loaded *l = (struct loaded *)c;
    for (size_t i = 0; i < n_settings && expect_defaults; i++)
        if (l->origin[i].source != FROM_DEFAULT)
            fail_msg("%s sets %s; a fresh tree must run by its defaults", path, settings[i].path);
    config_free(c);
    buf_free(&errors);
}

static void shipped_samples_load(void **state)
{
    (void)state;
    load_sample("configs/config.yaml", true);
    load_sample("configs/examples/appserver.json", false);
}

/* Every commented key of configs/config.yaml is right: with `#` taken away it sets each setting to its default. */
static void the_commented_sample_shows_every_setting(void **state)
{
    (void)state;
    char path[] = "/tmp/test_config_doc.XXXXXX", name[] = "appserver", flag[] = "-config",
         *argv[] = { name, flag, path, NULL }, *env[] = { NULL };
    FILE *f = fdopen(mkstemp(path), "w");
    char *rest = slurp("configs/config.yaml"), *line;
    while ((line = strsep(&rest, "\n"))) {
        char *hash = strchr(line, '#');
        if (hash && hash[1] != ' ') memmove(hash, hash + 1, strlen(hash)); /* "#key:" is a setting, "# text" a remark */
        fprintf(f, "%s\n", line);
    }
    fclose(f);
    buf errors;
    buf_init(&errors, 1 << 16);
    struct config *c = config_load(3, argv, env, &errors);
    unlink(path);
    if (!c) fail_msg("%.*s", (int)errors.n, errors.p);
    struct loaded *l = (struct loaded *)c;
    for (size_t i = 0; i < n_settings; i++)
        if (l->origin[i].source != FROM_FILE) fail_msg("configs/config.yaml does not show %s", settings[i].path);
    assert_string_equal(c->plugins->name, "oracle");
    config_free(c);
    buf_free(&errors);
}

/* Is `path` in the table of docs/reload.md, itself or as `section.*`? */
static bool listed(const char *table, const char *path)
{
    char want[100];
    size_t n = strlen(path);
    assert_true(n < 90);
    snprintf(want, sizeof want, "`%.*s`", (int)n, path);
    if (strstr(table, want)) return true;
    for (const char *dot = strchr(path, '.'); dot; dot = strchr(dot + 1, '.')) {
        snprintf(want, sizeof want, "`%.*s.*`", (int)(dot - path), path);
        if (strstr(table, want)) return true;
    }
    return false;
}

/* Of server.tls the table says more: files are taken over, on and off needs a restart. */
static void what_needs_a_restart_is_listed(void **state)
{
    (void)state;
    char *table = strstr(slurp("docs/reload.md"), "Read at the start only:"), *end;
    assert_non_null(table);
    end = strstr(table, "Everything else");
    assert_non_null(end);
    *end = 0;
    for (size_t i = 0; i < n_settings; i++) {
        bool tls = str_starts(sl_cstr(settings[i].path), "server.tls.");
        if (listed(table, settings[i].path) != (tls || !config_applies_live(&settings[i])))
            fail_msg("docs/reload.md: %s %s a restart", settings[i].path,
                     config_applies_live(&settings[i]) ? "needs no" : "is missing, it needs");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_setting_has_its_row),
        cmocka_unit_test(no_row_without_a_setting),
        cmocka_unit_test(help_names_every_flag_key_and_variable),
        cmocka_unit_test(shipped_samples_load),
        cmocka_unit_test(the_commented_sample_shows_every_setting),
        cmocka_unit_test(what_needs_a_restart_is_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
