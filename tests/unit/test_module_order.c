/* test_module_order.c - the order of modules: needs before those who need them, circles named, what is missing named.
 */
#include "unit.h"
#include "base/log.h"
#include "module/private.h"

static struct module *add(const char *name, const char *needs)
{
    struct module *m = module_new(sl_cstr(name));
    module_list(m);
    sl_str rest = sl_cstr(needs), word;
    snprintf(m->version, sizeof m->version, "1.4.0");
    m->all_needs = arena_alloc(m->arena, 16 * sizeof *m->all_needs);
    while (str_split(&rest, ' ', &word)) {
        if (word.n == 0) continue;
        struct need *n = &m->all_needs[m->n_all_needs++];
        n->optional = word.p[0] == '?';
        if (n->optional) word = str_sub(word, 1, word.n);
        sl_str id = word;
        n->min = 1;
        if (str_split(&word, '@', &id) && word.p) n->min = (uint32_t)atoi(word.p);
        snprintf(n->id, sizeof n->id, "%.*s", STR_ARG(id));
    }
    return m;
}

static const char *sorted(void)
{
    static char text[512];
    size_t n = 0;
    modules_set(modules_order(modules_first()));
    text[0] = 0;
    for (struct module *m = modules_first(); m; m = m->next)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s ", m->name);
    return text;
}

static int setup(void **state)
{
    (void)state;
    log_setup(SL_ERROR + 1, LOG_AS_TEXT, 2);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    modules_close();
    return 0;
}

static void needed_come_first_and_the_rest_keeps_its_order(void **state)
{
    (void)state;
    add("oracle", "accounts secrets sl.store"), add("accounts", ""), add("random", "accounts"),
        add("secrets", "accounts");
    assert_string_equal(sorted(), "accounts secrets oracle random ");
    for (struct module *m = modules_first(); m; m = m->next)
        assert_false(m->broken);
}

/* There was room for 256 of them on the stack. */
static void any_number_of_modules_is_sorted(void **state)
{
    enum { MANY = 700 };
    char name[16], needs[16];
    size_t n = 0;
    (void)state;
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "m%d", i);
        snprintf(needs, sizeof needs, "m%d", i + 1);
        add(name, i + 1 < MANY ? needs : "");
    }
    modules_set(modules_order(modules_first()));
    for (struct module *m = modules_first(); m; m = m->next, n++) {
        snprintf(name, sizeof name, "m%d", MANY - 1 - (int)n);
        assert_string_equal(m->name, name);
        assert_false(m->broken);
    }
    assert_int_equal(n, MANY);
}

static void circle_is_named(void **state)
{
    (void)state;
    struct module *x = add("x", "a"), *a = add("a", "b"), *b = add("b", "c"), *c = add("c", "a"),
                  *free = add("free", "");
    sorted();
    assert_string_equal(a->error, "needs go in a circle: a -> b -> c -> a");
    assert_true(b->broken && c->broken && b->status == MODULE_FAILED);
    assert_true(x->broken && x->status == MODULE_WAITING);
    assert_non_null(strstr(x->error, "waiting for a: needs go in a circle"));
    assert_false(free->broken);
}

static void itself_is_a_circle(void **state)
{
    (void)state;
    struct module *a = add("a", "a");
    sorted();
    assert_string_equal(a->error, "needs go in a circle: a -> a");
}

static void what_is_missing_is_named(void **state)
{
    (void)state;
    struct module *a = add("a", "nothing"), *b = add("b", "off"), *c = add("c", "old@2"), *d = add("d", "sl.store@2"),
                  *e = add("e", "sl.kv"), *off = add("off", ""), *old = add("old", ""), *f = add("f", "a"),
                  *g = add("g", "f");
    off->enabled = false;
    sorted();
    assert_string_equal(a->error, "needs nothing, which is not installed");
    assert_string_equal(b->error, "needs off, which is disabled in the configuration");
    assert_string_equal(c->error, "needs old 2, version 1.4.0 is installed");
    assert_string_equal(d->error, "needs sl.store 2, this host offers 1: upgrade appserver");
    assert_string_equal(e->error, "needs sl.kv, which this host does not offer: upgrade appserver");
    assert_string_equal(f->error, "waiting for a: needs nothing, which is not installed");
    assert_non_null(strstr(g->error, "waiting for f: waiting for a"));
    assert_false(old->broken || off->broken);
}

static void optional_needs_only_order(void **state)
{
    (void)state;
    struct module *a = add("a", "?b ?nothing ?sl.kv ?sl.store@9"), *b = add("b", "");
    assert_string_equal(sorted(), "b a ");
    assert_false(a->broken || b->broken);
}

static void names_and_patterns(void **state)
{
    (void)state;
    assert_true(name_is_module(SL("a")) && name_is_module(SL("neo-indexer_2")));
    assert_false(name_is_module(SL("")) || name_is_module(SL("-a")) || name_is_module(SL("a.b")) ||
                 name_is_module(SL("a/b")));
    assert_true(name_is_topic(SL("account.deleted")) && name_is_topic(SL("x")));
    assert_false(name_is_topic(SL("a..b")) || name_is_topic(SL(".a")) || name_is_topic(SL("a.")) ||
                 name_is_topic(SL("A")) || name_is_topic(SL("a b")) || name_is_topic(SL("")));
    assert_true(name_matches(SL("a.*"), SL("a.b")) && name_matches(SL("*"), SL("anything")) &&
                name_matches(SL("a"), SL("a")));
    assert_false(name_matches(SL("a.*"), SL("ab")) || name_matches(SL("a"), SL("ab")) || name_matches(SL(""), SL("a")));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = { T(needed_come_first_and_the_rest_keeps_its_order),
                                        T(any_number_of_modules_is_sorted),
                                        T(circle_is_named),
                                        T(itself_is_a_circle),
                                        T(what_is_missing_is_named),
                                        T(optional_needs_only_order),
                                        T(names_and_patterns) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
