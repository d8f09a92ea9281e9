/* private.h - what the files of module/ share with each other: checks, loading, tables and captured calls. */
#ifndef MODULE_PRIVATE_H
#define MODULE_PRIVATE_H
#include "module/module.h"
#include <sys/stat.h>

extern const struct config *module_cfg;
extern const struct module_hooks *module_hooks;
extern keyring *module_keys;
extern char **module_env;
enum { MODULE_WHY = 512 };

/* ---- names.c: what may be a name, and grants ---- */
bool name_is_module(sl_str s);               /* [a-z][a-z0-9_-]*, at most 63 */
bool name_is_topic(sl_str s);                /* dotted words: [a-z0-9_-]+(.[a-z0-9_-]+)*, at most 128 */
bool name_matches(sl_str pattern, sl_str s); /* equal, or pattern ends in `*` and is a prefix up to there */
bool grants_read(arena *a, sl_str text, struct grant **out, size_t *n, char *why, size_t why_size);
/* Does its configuration allow the grants that a plugin which says `seen` about itself asks for (nothing said = all)?
 */
bool grants_allowed(const struct config *cfg, const char *plugin, const json_t *seen, char *why, size_t why_size);
bool generation_granted(const struct generation *g, const char *verb, sl_str what);
bool generation_may_reach(const struct generation *g, sl_str host); /* by its net: grants; host: "name:port" */

/* ---- elf.c: reads the file before anything of it runs ---- */
struct elf_finding {
    const char *class; /* as in config/findings.c; "file": it cannot be loaded at all */
    char text[288];
};
enum { ELF_FINDINGS = 16 }; /* at most one a class */
size_t elf_check(const void *file, size_t size, struct elf_finding out[ELF_FINDINGS]);

/* ---- crash.c ---- */
void build_id(const void *file, size_t size, char out[41]); /* of an ELF file that elf_check let pass; "" = none */

/* ---- findings.c: what to do about what the file shows ---- */
/* Fill g->findings from the file and its signature by the policies of module_cfg; g->keep when one of them pins it.
 * False: one of them refuses it, why says which. Any thread. */
bool findings_judge(struct generation *g, const void *file, size_t size, const struct stat *st, char *why,
                    size_t why_size);

/* ---- signature.c ---- */
/* Is `file` signed by one of the trusted keys in path.sig? False: a sentence with the remedy. */
bool signature_good(const char *path, const void *file, size_t size, char *why, size_t why_size);

/* ---- descriptor.c ---- */
/* Check everything `p` says and copy it into g (g->arena, spec, life, entries, grants, schemas); nothing of p is needed
 * afterwards but code. False: why. g->module is not looked at. */
bool descriptor_read(struct generation *g, const sl_plugin *p, char *why, size_t why_size);
void descriptor_free(struct generation *g); /* schemas; the arena stays */
/* Does another started module already offer one of g's routes, jobs or questions? seen_clash: the same before anything
 * of the plugin runs here, by what the probe saw. */
bool descriptor_clash(const struct generation *g, char *why, size_t why_size);
bool seen_clash(const struct module *m, const json_t *seen, char *why, size_t why_size);
bool names_clash(uint64_t kind, const char *name, uint64_t other_kind, const char *other);
const char *entry_kind(uint64_t kind); /* "route" */

/* ---- load.c: one copy of a plugin ---- */
struct generation *generation_new(struct module *m);
bool plugin_file_hash(const char *path, char out[65]);                  /* SHA-256, or "" and false; blocks */
bool generation_copy(struct generation *g, char *why, size_t why_size); /* read once, check the ELF, private copy */
bool generation_open(struct generation *g, char *why, size_t why_size); /* dlopen in this process, read, take metrics */
/* [S] Open it where it is to run: here, or in a child process of its own. */
bool generation_load(call *c, struct generation *g, char *why, size_t why_size);
void generation_destroy(struct generation *g); /* before the unload; a child process does it when it is closed */
bool generation_linked(struct generation *g, const sl_plugin *p, char *why, size_t why_size);
/* [S] with a child process. Let go of the code and keep what the tables say, so that routes of a module that does not
 * run can say so. */
void generation_unload(struct generation *g);
/* Is any of its library still in this process? Blocks: reads /proc/self/maps. */
bool generation_mapped(const struct generation *g);
void generation_measure(struct generation *g);          /* where its library lies, and its bytes */
bool generation_can_unload(const struct generation *g); /* false: linked in, to be kept, or a build with sanitizers */
void generation_free(struct generation *g);             /* calls must be 0; unloads, frees all */

/* ---- private_dir.c ---- */
/* Make the directory that only this process uses and that may hold code; the name that dlopen sees must be new for each
 * generation, or glibc hands out the old library again. Once; removes those that killed servers left. */
bool private_dir_make(char *why, size_t why_size);
const char *private_dir(void);
void private_dir_close(void);

/* ---- probe.c: opens plugins in short-lived children ---- */
struct probe {
    struct generation *g;
    json_t *seen;
    char why[MODULE_WHY];
}; /* seen: what the descriptor says, owned */
void probe_all(struct probe *probes, size_t n);
void probe_one(call *c, struct probe *p); /* [S] the same for one, while the server runs */

/* ---- discover.c ---- */
struct plugin_file { /* what stands in the plugin directories, first directory first */
    sl_str name;
    const char *path;
    bool own; /* in the installation's own directory */
    struct plugin_file *next;
};
struct plugin_file *plugin_files(const struct config *cfg, arena *a, buf *errors); /* blocks */
void plugin_directories(const struct config *cfg, void (*each)(const char *path));
struct module *module_describe(const struct plugin_file *f, const struct config *cfg); /* not listed yet */
void module_configure(struct module *m, const struct config *cfg); /* what cfg says of it, but whether it runs */
bool module_wanted(const struct module *m, const struct config *cfg);
bool module_to_isolate(const struct module *m, const struct config *cfg);
void module_about(struct module *m, const json_t *seen); /* what its plugin says about itself: version, needs ... */
const struct plugin_config *module_configured(const struct config *cfg, const char *name); /* NULL: not named there */
/* Its schema, owned by the caller; one that takes nothing when the plugin states none. NULL: why. */
json_t *module_config_schema(sl_str text, char *why, size_t why_size);
/* Effective and checked; what is wrong goes to findings, one a line. Owned; may be NULL when there are findings. */
json_t *module_effective_config(const struct config *cfg, const struct module *m, const json_t *schema, buf *findings);

/* ---- order.c ---- */
/* Sort the modules so that each comes behind those it needs; marks those broken that cannot start. Returns the new
 * first. */
struct module *modules_order(struct module *first);
void modules_sort(void); /* the same while they run: marks none, moves as few as must be */

/* ---- registry.c ---- */
struct entry *module_compute_any(sl_str name, bool *known); /* known: offered by a module that is not started now */
struct entry *module_entry(const struct generation *own, uint64_t kind,
                           sl_str name); /* own's first, then any module's */
void module_fail(struct module *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
void module_wait(struct module *m, const struct module *for_what); /* m cannot start before the other does */
struct module *module_new(sl_str name);                            /* not listed yet */
void module_list(struct module *m);
void module_free(struct module *m);
extern struct module *modules_coming; /* found by the change under way, not listed yet */
struct module *module_find_coming(sl_str name);
void modules_set(struct module *first);
size_t modules_count(const struct module *first); /* from there on */

/* ---- tables.c ---- */
uint32_t table_version(sl_str id);       /* 0 = not offered */
void tables_grant(struct generation *g); /* fill g->host from its needs */
/* Run work on the pool for c: host functions that would wait answer SL_ESTATE meanwhile. [S] */
sl_err pool_run(call *c, void (*work)(void *arg), void *arg);
extern _Thread_local call *pool_call;         /* the call whose code runs on this pool thread */
struct counted;                               /* what a pool handler counted, in its call's memory */
struct counted *metrics_take_pooled(void);    /* on the pool thread */
void metrics_apply_pooled(struct counted *k); /* on the loop thread */
call *call_mine(sl_call *c);                  /* c when it is the call that runs here, else NULL */
sl_err may_wait(sl_call *c, const char *what, bool in_transaction);
void plugin_log(call *c, uint32_t level, sl_str text, const sl_pair *fields, size_t n);
/* How a child process differs: its transactions are the host's, and its plugin's log lines go there. */
extern bool (*module_in_transaction)(const call *c);
extern void (*plugin_log_to)(call *c, uint32_t level, sl_str text, const sl_pair *fields,
                             size_t n); /* NULL = the log */
/* As sl.metrics, for a call that need not be the one that runs now. */
void metrics_change(call *c, uint32_t index, double v, const sl_str *labels, uint32_t n, bool set);
bool call_may_reach(const call *c, sl_str host); /* as fetch_may_reach of net/fetch.h */
extern const sl_core table_core;
extern const sl_store table_store;
extern const sl_bus table_bus;
extern const sl_jobs table_jobs;
extern const sl_http table_http;
extern const sl_metrics table_metrics;
extern const sl_crypto table_crypto;

/* ---- capture.c: calls whose answer is kept in memory (questions, lifecycle steps, health) ---- */
struct capture {
    sl_str body;    /* input; lives as long as the capture */
    json_t *fields; /* body read, on first use or by the schema check */
    const sl_pair *facts;
    size_t n_facts;
    uint32_t depth;            /* questions within questions */
    int32_t status;            /* of the answer; 0 = none yet */
    sl_str type, code, detail; /* in the call's arena; code, detail: of a problem */
    sl_str answer;
};
extern const struct call_ops capture_ops;
struct capture *capture_of(call *c);            /* NULL when c is of another kind */
sl_str capture_fact(call *c, const char *name); /* of any kind of call; absent when it has none */

/* ---- invoke.c ---- */
const char *err_name(sl_err e);         /* "SL_ENOENT" */
sl_err checked_code(call *c, sl_err e); /* a handler's return value made one of the contract's codes */
/* Read json and check it by e's `in` schema (NULL = any), filling defaults. Owned by the caller. NULL: it does not fit;
 * findings holds a JSON array of {"pointer", "detail"}. */
json_t *entry_input(const struct entry *e, sl_str json, buf *findings);

/* Only the handler: here, or in the generation's child process. [S] */
sl_err entry_run(call *c, struct entry *e);

/* ---- steps.c: one lifecycle function as a call of its own ---- */
enum step { STEP_CREATE, STEP_START, STEP_STOP, STEP_HEALTH, STEP_SAVE, STEP_LOAD };
/* [S] Runs it within ms; SL_OK also when the plugin has none. Otherwise `why` is a sentence. */
sl_handler *step_handler(const struct generation *g,
                         enum step step);                       /* NULL: it has none (create is of another type) */
sl_err step_run(call *c, struct generation *g, enum step step); /* only the function, as entry_run [S] */
sl_err generation_step(call *c, struct generation *g, enum step step, uint32_t ms, char *why, size_t why_size);

/* [S] STEP_CREATE and STEP_START. */
sl_err generation_start(call *c, struct generation *g, char *why, size_t why_size);
/* [S] save in `from`, load in `to`: both within ms each. */
sl_err generation_hand_over(call *c, struct generation *from, struct generation *to, uint32_t ms, char *why,
                            size_t why_size);

/* ---- hold.c ---- */
void hold_begin(struct module *m);
uint32_t hold_release(struct module *m); /* returns how many calls waited in all */

/* ---- stage.c: a new generation while the server runs ---- */
/* [S] Read, check, probe, and with `start` open, create and start a generation of m beside the one that serves,
 * configured by cfg. NULL: why. */
struct generation *stage(call *c, struct module *m, const struct config *cfg, bool start, struct module_change *change,
                         char *why, size_t why_size);
/* [S] The second half, for one that was made without `start`; NULL: why, and it is dropped. */
struct generation *stage_checked(call *c, struct generation *g, struct module_change *change, char *why,
                                 size_t why_size);
void stage_drop(struct generation *g); /* it never served: destroyed and freed, or parked when a step does not return */

/* ---- drain.c: the way out of a generation ---- */
/* [S] Wait until no call is in g, cancelling them after ms and giving up a while later. */
bool generation_drain(call *c, struct generation *g, uint32_t ms);
void generation_retire(struct generation *g,
                       uint32_t warm_ms); /* in the background, reported by log, metric and m->left */
/* A disabled generation whose table nobody looks at any more: freed, or listed when its library stays. */
void generation_discard(struct generation *g);
size_t generations_old(const struct module *m, bool for_ever); /* draining or warm; for_ever: those that never leave */
void drain_close(call *c);                                     /* [S] at the end of the server */
void drain_free(struct module *m);                             /* what is left in its lists */

/* ---- reload.c ---- */
void reload_back(call *c, struct module *m, struct generation *old, const char *why); /* [S] old serves again */
/* [S] `checked`: out of stage, consumed; or NULL. `by`: "an administrator". `why` is filled on failure. */
sl_err reload_act(call *c, struct module *m, enum module_action action, struct generation *checked, const char *by,
                  struct module_change *done, char *why, size_t why_size);

/* ---- change.c ---- */
bool module_lock(void);     /* one change at a time; false: another is under way */
void change_close(call *c); /* [S] waits for a change under way; none can begin after it */
/* [S] with the lock held: reload_act, told in m->last, log and metrics. */
sl_err change_run(call *c, struct module *m, enum module_action action, struct generation *checked, const char *by,
                  struct module_change *out);

/* ---- watch.c ---- */
void watch_start(void); /* as modules.watch says; also again when the configuration changed */
void watch_stop(void);  /* in a fiber: waits for a look in progress */

/* ---- lifecycle.c ---- */
bool module_needs_run(const struct module *m, const struct module **missing); /* of the modules there are */
/* Is what it needs offered, installed and started, in that version? False: why. */
bool module_need_met(const struct module *m, sl_str id, uint32_t min, char *why, size_t why_size);
bool module_needs_met(const struct module *m); /* all of them */
/* ---- publish.c ---- */
void publish_close(void);
sl_err modules_publish(call *c); /* [S] hand kinds, topics and routes of what is started to the other floors */
#endif
