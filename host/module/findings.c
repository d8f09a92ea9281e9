/* findings.c - what the loader does about what a plugin's file shows: a policy for each class of findings. */
#include "base/log.h"
#include "module/private.h"

/* pin: load it, but for ever. Its code then cannot be pulled from under a thread, a handler or a destructor that it
 * left behind. isolate: only in a child process, where the plugin runs then if its configuration does not forbid it. */
static const struct {
    const char *class;
    enum finding_policy policy;
} defaults[] = {
    { "file", FINDING_REFUSE },       { "signature", FINDING_REFUSE },  { "unique", FINDING_PIN },
    { "nodelete", FINDING_PIN },      { "thread_locals", FINDING_PIN }, { "thread_keys", FINDING_PIN },
    { "threads", FINDING_PIN },       { "libraries", FINDING_PIN },     { "signals", FINDING_ISOLATE },
    { "processes", FINDING_ISOLATE }, { "exit", FINDING_ISOLATE },      { "exports", FINDING_ALLOW },
    { "needed", FINDING_ALLOW },      { "static_tls", FINDING_ALLOW },  { "text_relocations", FINDING_REFUSE },
};
static const char *const policy_names[] = { "allow", "pin", "isolate", "refuse" };

const char *finding_policy_name(enum finding_policy p) { return policy_names[p]; }

static enum finding_policy policy_of(const char *class)
{
    enum finding_policy found = FINDING_REFUSE;
    sl_str name, said;
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++)
        if (strcmp(defaults[i].class, class) == 0) found = defaults[i].policy;
    for (size_t i = 0; i < module_cfg->findings.n; i++) { /* the last one wins */
        said = module_cfg->findings.item[i];
        if (!str_split(&said, '=', &name) || !sl_is(name, class)) continue;
        for (unsigned p = 0; p < sizeof policy_names / sizeof *policy_names; p++)
            if (sl_is(said, policy_names[p])) found = (enum finding_policy)p;
    }
    return found;
}

static void add(struct generation *g, const char *class, enum finding_policy policy, const char *text)
{
    struct finding *f = &g->findings[g->n_findings++];
    f->class = class;
    f->policy = policy;
    snprintf(f->text, sizeof f->text, "%s", text);
}

static void check_signature(struct generation *g, const void *file, size_t size)
{
    char why[256];
    bool asked = module_cfg->trusted_keys.n > 0 || sl_is(module_cfg->signature_policy, "refuse");
    if (!asked || sl_is(module_cfg->signature_policy, "off")) return;
    if (signature_good(g->module->path, file, size, why, sizeof why)) return;
    add(g, "signature", sl_is(module_cfg->signature_policy, "refuse") ? FINDING_REFUSE : FINDING_ALLOW, why);
}

/* Its configuration says that it is to run in the server itself. */
static bool stays_here(const struct generation *g)
{
    const struct plugin_config *said = g->module->configured;
    return said && said->isolation && strcmp(said->isolation, "none") == 0;
}

bool findings_judge(struct generation *g, const void *file, size_t size, char *why, size_t why_size)
{
    struct elf_finding found[ELF_FINDINGS];
    size_t n = elf_check(file, size, found);
    const struct finding *against = NULL;
    g->findings = arena_alloc(g->arena, (n + 1) * sizeof *g->findings);
    g->n_findings = 0;
    for (size_t i = 0; i < n; i++)
        add(g, found[i].class, policy_of(found[i].class), found[i].text);
    check_signature(g, file, size);
    for (size_t i = 0; i < g->n_findings; i++) {
        const struct finding *f = &g->findings[i];
        if (f->policy == FINDING_ISOLATE && !stays_here(g)) g->isolated = true;
        if (f->policy == FINDING_PIN) g->keep = true;
        if (!against && (f->policy == FINDING_REFUSE || (f->policy == FINDING_ISOLATE && !g->isolated))) against = f;
        log_warn("plugin file", LOG_C("plugin", g->module->name), LOG_C("path", g->module->path),
                 LOG_C("class", f->class), LOG_C("policy", policy_names[f->policy]), LOG_C("finding", f->text));
    }
    if (g->isolated) g->keep = false; /* a process takes everything along when it ends */
    if (!against) return true;
    if (against->policy == FINDING_ISOLATE)
        snprintf(why, why_size,
                 "%.150s: %.200s; it may run only in a process of its own (plugins.%s.isolation: process), or "
                 "modules.findings: %s=allow lets it in",
                 g->module->path, against->text, g->module->name, against->class);
    else
        snprintf(why, why_size, "%.200s: %.280s", g->module->path, against->text);
    return false;
}
