/* findings.c - what the loader does about what a plugin's file shows: who may write it, what is in it, who signed it.
 */
#include "base/log.h"
#include "module/private.h"
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

enum { FINDINGS_MAX = ELF_FINDINGS + 3 };

static void __attribute__((format(printf, 3, 4))) add(struct generation *g, const char *class, const char *format, ...)
{
    struct finding *f = &g->findings[g->n_findings++];
    va_list ap;
    f->class = class;
    f->policy = config_finding_policy(module_cfg, g->module->name, class);
    va_start(ap, format);
    vsnprintf(f->text, sizeof f->text, format, ap);
    va_end(ap);
}

/* Who may write the file, or put another in its place, decides what runs in the server. */
static void check_writers(struct generation *g, const struct stat *file)
{
    char path[PATH_MAX];
    struct stat dir;
    if (file->st_mode & S_IWOTH)
        add(g, "writable", "everybody may write to it (chmod o-w)");
    else if (realpath(g->module->path, path) && stat(dirname(path), &dir) == 0 &&
             (dir.st_mode & (S_IWOTH | S_ISVTX)) == S_IWOTH)
        add(g, "writable", "everybody may replace it: its directory %.150s is writable by all (chmod o-w)", path);
    if (file->st_uid != 0 && file->st_uid != geteuid())
        add(g, "owner", "belongs to user %lu, who may change it: neither root nor the server's own user (chown)",
            (unsigned long)file->st_uid);
}

static void check_signature(struct generation *g, const void *file, size_t size)
{
    char why[256];
    bool asked = module_cfg->trusted_keys.n > 0 || sl_is(module_cfg->signature_policy, "refuse");
    if (!asked || sl_is(module_cfg->signature_policy, "off")) return;
    if (!signature_good(g->module->path, file, size, why, sizeof why)) add(g, "signature", "%s", why);
}

/* Its configuration says that it is to run in the server itself. */
static bool stays_here(const struct generation *g)
{
    const struct plugin_config *said = g->module->configured;
    return said && said->isolation && strcmp(said->isolation, "none") == 0;
}

static bool verdict(struct generation *g, char *why, size_t why_size)
{
    const struct finding *against = NULL;
    for (size_t i = 0; i < g->n_findings; i++) {
        const struct finding *f = &g->findings[i];
        if (f->policy == FINDING_ISOLATE && !stays_here(g)) g->isolated = true;
        if (f->policy == FINDING_PIN) g->keep = true;
        bool bars = f->policy == FINDING_REFUSE || (f->policy == FINDING_ISOLATE && !g->isolated);
        if (bars && (!against || f->policy > against->policy)) against = f;
        log_warn("plugin file", LOG_C("plugin", g->module->name), LOG_C("path", g->module->path),
                 LOG_C("class", f->class), LOG_C("policy", finding_policy_name(f->policy)), LOG_C("finding", f->text));
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

bool findings_judge(struct generation *g, const void *file, size_t size, const struct stat *st, char *why,
                    size_t why_size)
{
    struct elf_finding found[ELF_FINDINGS];
    size_t n = elf_check(file, size, found);
    g->findings = arena_alloc(g->arena, FINDINGS_MAX * sizeof *g->findings);
    g->n_findings = 0;
    for (size_t i = 0; i < n; i++)
        add(g, found[i].class, "%s", found[i].text);
    check_writers(g, st);
    check_signature(g, file, size);
    return verdict(g, why, why_size);
}
