/* config_reload.h - reading the configuration again while the server runs: plan, check, apply. */
#ifndef API_CONFIG_RELOAD_H
#define API_CONFIG_RELOAD_H
#include "api/api.h"

enum { RELOAD_OUTCOME = 2048 };
struct config_reload_result {
    bool good, dry_run;
    int64_t at;                   /* microseconds since 1970; 0 = there was none */
    const char *by;               /* "SIGHUP"; "admin" */
    char outcome[RELOAD_OUTCOME]; /* in words; of a configuration with errors these, one a line */
    buf plan;                     /* JSON fields: "settings", "restart_needed", "modules" */
};
/* in_force: where the configuration stands that is used; a reload replaces and frees it. The arguments must outlive it.
 */
void config_reload_setup(struct config **in_force, int argc, char **argv);
void config_reload_close(void);
const struct config *config_in_force(void);
const struct config_reload_result *config_reload_last(void); /* the last one that was no dry run */
/* [S] Waits in line with other changes of modules. tag: the config_tag that must be in force, or absent. SL_OK: done,
 * or planned; SL_EPRECOND: another is in force; SL_EINVAL: it has errors, nothing was changed; SL_ECONFLICT: done, but
 * for a module that could not be changed; SL_EBUSY: the server stops or is full; SL_ETIME, SL_ECANCEL: nobody waits for
 * it any more. out is filled but for the last two; its plan is the caller's to free in any case. */
sl_err config_reload(call *c, bool dry_run, sl_str tag, const char *by, struct config_reload_result *out);
void config_reload_on_signal(void); /* starts one; its outcome is logged */
#endif
