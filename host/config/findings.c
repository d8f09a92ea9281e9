/* findings.c - the classes of findings on a plugin's file, and what the configuration says to do about each. */
#include "config/settings.h"

/* pin: load it, but for ever. Its code then cannot be pulled from under a thread, a handler or a destructor that it
 * left behind. isolate: only in a child process. */
static const struct {
    const char *name;
    enum finding_policy usual;
} classes[] = {
    { "file", FINDING_REFUSE }, /* of these two modules.findings does not speak */
    { "signature", FINDING_ALLOW },   { "text_relocations", FINDING_REFUSE },
    { "writable", FINDING_REFUSE },   { "signals", FINDING_ISOLATE },
    { "processes", FINDING_ISOLATE }, { "exit", FINDING_ISOLATE },
    { "nodelete", FINDING_PIN },      { "unique", FINDING_PIN },
    { "thread_locals", FINDING_PIN }, { "thread_keys", FINDING_PIN },
    { "threads", FINDING_PIN },       { "libraries", FINDING_PIN },
    { "needed", FINDING_ALLOW },      { "exports", FINDING_ALLOW },
    { "static_tls", FINDING_ALLOW },  { "owner", FINDING_ALLOW },
};
enum { CLASSES = sizeof classes / sizeof *classes, SETTABLE = 2, POLICIES = FINDING_REFUSE + 1 };
static const char *const policies[POLICIES] = { "allow", "pin", "isolate", "refuse" };

const char *finding_policy_name(enum finding_policy p) { return policies[p]; }

/* CLASS=POLICY: sets both, or says false. */
static bool read_rule(sl_str rule, size_t *class, enum finding_policy *policy)
{
    sl_str name;
    size_t p = 0;
    *class = SETTABLE;
    if (!str_split(&rule, '=', &name)) return false;
    while (*class < CLASSES && !sl_is(name, classes[*class].name))
        ++*class;
    while (p < POLICIES && !sl_is(rule, policies[p]))
        p++;
    *policy = (enum finding_policy)p;
    return *class < CLASSES && p < POLICIES;
}

const char *config_check_finding(sl_str rule)
{
    static const char before[] = "must be CLASS=allow, CLASS=pin, CLASS=isolate or CLASS=refuse; CLASS is one of ";
    static char must[512];
    size_t class, n = 0;
    enum finding_policy policy;
    if (read_rule(rule, &class, &policy)) return NULL;
    for (size_t i = SETTABLE; i < CLASSES && n < sizeof must; i++)
        n += (size_t)snprintf(must + n, sizeof must - n, "%s%s", n ? ", " : before, classes[i].name);
    return must;
}

/* The last one that speaks of the class wins. */
static void apply(const struct str_list *rules, const char *class, enum finding_policy *found)
{
    size_t at;
    enum finding_policy policy;
    for (size_t i = 0; i < rules->n; i++)
        if (read_rule(rules->item[i], &at, &policy) && strcmp(classes[at].name, class) == 0) *found = policy;
}

enum finding_policy config_finding_policy(const struct config *cfg, const char *plugin, const char *class)
{
    enum finding_policy found = FINDING_REFUSE;
    const struct plugin_config *p = config_plugin(cfg, plugin);
    for (size_t i = 0; i < CLASSES; i++)
        if (strcmp(classes[i].name, class) == 0) found = classes[i].usual;
    if (strcmp(class, "signature") == 0 && sl_is(cfg->signature_policy, "refuse")) found = FINDING_REFUSE;
    apply(&cfg->findings, class, &found);
    if (p) apply(&p->findings, class, &found);
    return found;
}
