/* module.h - plugins in the process: modules, their generations and entries, and running an entry as a call. */
#ifndef MODULE_MODULE_H
#define MODULE_MODULE_H
#include "base/json.h"
#include "base/seal.h"
#include "config/config.h"
#include "loop/loop.h"

enum module_status {
    MODULE_REGISTERED,
    MODULE_WAITING,
    MODULE_STARTING,
    MODULE_STARTED,
    MODULE_FAILED,
    MODULE_STOPPING,
    MODULE_STOPPED,
    MODULE_DISABLED
};
const char *module_status_name(enum module_status s);

/* A generation's life. Old ones stay listed at their module until nothing of them is left in the process. */
enum generation_state {
    GENERATION_STAGED,   /* checked, about to serve */
    GENERATION_SERVING,  /* new calls go here */
    GENERATION_WARM,     /* replaced; kept for a roll-back */
    GENERATION_DRAINING, /* its calls run to their end */
    GENERATION_PARKED,   /* its calls do not end: mapped, unreachable */
    GENERATION_KEPT,     /* stopped; its library can or shall not be unloaded */
    GENERATION_STUCK,    /* stopped and closed, but found to be mapped still */
    GENERATION_GONE      /* unloaded; its table answers 503 for a disabled module */
};
const char *generation_state_name(enum generation_state s);

/* What a look at the file found; text with its remedy. */
struct finding {
    const char *class; /* as in config/findings.c */
    enum finding_policy policy;
    char text[320];
};

struct generation;
struct entry { /* one row of a plugin's table, every string copied out of the plugin */
    sl_entry spec;
    struct generation *generation;
    uint32_t index, inflight; /* index: in the plugin's own table */
    json_t *in, *query, *out; /* schemas, normalised, or NULL */
    void *http;               /* http/'s own note (compiled route and schemas) */
};
struct grant {
    sl_str verb, pattern;
};
struct generation { /* one loaded copy of a plugin; freed when the last call that pins it ends */
    struct module *module;
    arena *arena;            /* owns every string and table here */
    uint32_t number, calls;  /* calls that pin it */
    uint32_t stack_kib;      /* of its calls' fibers; 0 = default */
    void *handle;            /* dlopen; NULL = linked in */
    char *path;              /* private copy that was opened */
    const sl_plugin *plugin; /* the plugin's own descriptor; do not read strings through it */
    sl_host host;            /* tables as granted */
    void *self;
    struct entry *entries;
    size_t n_entries;
    void **metrics; /* struct metric * by index */
    size_t n_metrics;
    struct cell *cell; /* its child process; NULL = it runs here */
    bool draining;     /* the door is shut: module_invoke answers SL_EUNAVAIL */
    /* ---- private to module/ ---- */
    sl_plugin spec; /* the descriptor, strings and tables replaced by copies */
    sl_lifecycle life;
    struct grant *grants;
    size_t n_grants;
    uint64_t *approved;             /* hashes of statements that name only granted tables, see tables_data.c */
    json_t *config, *config_schema; /* effective configuration that this copy was created with */
    bool created, started;
    bool isolated; /* to run in a child process; its file is `file`, an open descriptor, else -1 */
    int file;
    enum generation_state state;
    struct generation *older; /* in its module's list */
    int64_t loaded_at;
    uint64_t done, failed, mapped; /* calls run, those that ended in a fault; bytes of its library */
    size_t file_size;
    char sha256[65], build[41]; /* build: the file's build id, "" = it has none */
    uintptr_t base, end;        /* where its library lies; 0 = nowhere here */
    json_t *seen; /* what its plugin says about itself, as the probe read it; NULL for what is linked in */
    struct finding *findings;
    size_t n_findings;
    bool keep, hurry; /* keep: never unload it, a finding says why; hurry: no longer kept warm */
};
struct need {
    char id[64];
    uint32_t min;
    bool optional;
};
/* How the last change of a module went; times in microseconds. */
struct module_change {
    const char *action; /* "reload"; NULL = there was none */
    bool good;
    uint32_t from, to;                                     /* generations; 0 = none */
    int64_t at, check_us, start_us, hand_over_us, swap_us; /* swap: from the beginning until the new one serves */
    uint32_t held;                                         /* calls that waited for the hand-over */
    char outcome[512];
};
/* How the last generation left. */
struct module_unload {
    uint32_t number; /* 0 = none did */
    bool proven;     /* neither in /proc/self/maps nor known to the dynamic linker */
    int64_t at, drain_us, total_us;
    char outcome[256];
};
struct module {
    char name[64], version[32];
    char *doc, *path, *grants; /* path: the file that was found; "" = linked in */
    char **needs;              /* names of plugins it needs, NULL-terminated */
    json_t *config;            /* effective, checked */
    enum module_status status;
    char error[512]; /* why it failed or waits */
    bool required, enabled, first_party, isolated;
    struct generation *current;
    int64_t started_at, stopped_at, start_us, stop_us; /* times and how long they took */
    uint32_t restarts;
    uint64_t calls, errors, slow;
    struct generation *older; /* replaced ones, newest first, linked by `older` */
    struct hold *hold;        /* new calls wait here while state is handed over; NULL = they need not */
    struct module_change last;
    struct module_unload left;
    uint64_t edition; /* grows with each change that an admin can see: its ETag */
    struct module *next;
    /* ---- private to module/ ---- */
    struct generation *staged;    /* checked and about to start, or kept for its tables when the start failed */
    arena *about;                 /* owns version, doc, grants and needs as the plugin states them */
    uint32_t last_number, parked; /* generations made; generations whose calls did not end */
    size_t stack_used;            /* highest seen on a fiber of its calls, bytes */
    const struct plugin_config *configured;
    bool seen;               /* its descriptor was read in a child and is good */
    const sl_plugin *linked; /* a module linked in */
    struct need *all_needs;  /* tables too */
    size_t n_all_needs;
    arena *arena;       /* owns the texts above */
    int64_t log_window; /* rate limit of its log lines: second and lines in it */
    uint32_t log_lines, log_lost;
    bool broken, visiting, ordered; /* broken: cannot start, `error` says why */
    char bad_file[320];             /* the directory watch refused the file now in place; "" = it did not */
    bool lacking;                   /* it cannot start for want of a need, and does so when that comes */
    bool coming;                    /* the change under way starts it */
    const struct plugin_file *file; /* what the change under way found for it */
};

/* From rates and numbers at once: a health route stays reachable under load, who watches must not take it for death. */
static inline bool entry_exempt(const struct entry *e)
{
    const struct module *m = e->generation->module;
    return m->linked && !e->spec.scope && strcmp(m->name, "system") == 0;
}

/* What the HTTP floor does for modules; main.c fills it. All are required but the tags and `rebuilt`. */
struct module_hooks {
    sl_err (*reply_row)(call *c, int32_t status, const sl_rows *rows);
    sl_err (*reply_list)(call *c, sl_str sql, const sl_value *args, size_t n); /* [S] */
    /* The ETag that reply_row gives these rows, and giving it to an answer that was rendered elsewhere. */
    sl_str (*row_tag)(call *c, const sl_rows *rows);
    void (*reply_tag)(call *c, sl_str tag);
    void (*rebuilt)(void); /* the set of started modules changed */
};
/* Once, before anything else here. cfg, hooks, keys and env must outlive modules_close; keys may be NULL (no
 * sl.crypto). */
void modules_setup(const struct config *cfg, const struct module_hooks *hooks, keyring *keys, char **env);
void module_builtin(const sl_plugin *plugin); /* a module linked into the host; before modules_discover */
/* Find, check and order all plugins and their configurations without running their code in this process (each is opened
 * in a short-lived child). Blocks; call it before the loop serves. Sentences about what cannot start go to errors, one
 * a line; returns their number. What is not `required` is left out of the start but stays visible as failed. */
size_t modules_discover(buf *errors);
/* What the loader would say about one file, as text or JSON; false: it would not be loaded. Instead of
 * modules_discover. With a configuration file also against the plugins that are installed by it. */
bool plugin_check(const char *path, bool as_json, buf *out);
void modules_print_config(buf *out); /* effective configurations as YAML, secrets hidden; after modules_discover */
/* [S] Load, migrate, create and start all in order and publish them. SL_OK, or `why`: a required module did not start.
 * With migrate_only only the migrations run. */
sl_err modules_start(call *c, bool migrate_only, char *why, size_t why_size);
/* [S] The migrations of one module (name "host" for the host's own; plugin_path may be NULL), as the configuration
 * says. */
sl_err module_migrate(call *c, const char *name, const char *plugin_path, char *why, size_t why_size);
void modules_stop(call *c, uint32_t drain_ms); /* [S] reverse order: drain, stop, destroy, unload */
void modules_close(void);
/* What `appserver --probe FILE` does, after modules_setup: the loader starts itself like that to look into a plugin
 * from a process without threads. Writes to descriptor 3 and ends the process. */
#define PROBE_OPTION "--probe"
_Noreturn void probe_main(const char *path);
void module_slow(const char *module, const char *name, uint64_t held_ms, bool over); /* a loop_slow_fn */
/* An entry read off a started module stays valid while its generation is pinned. module_invoke pins for its own time;
 * who keeps an entry across a wait before or after that pins it too. Never blocks; unpin never frees at once. */
void module_pin(struct entry *e);
void module_unpin(struct entry *e);
struct module *modules_first(void); /* in start order */
struct module *module_find(sl_str name);
struct entry *module_compute(sl_str name); /* a started plugin's SL_COMPUTE entry or NULL */
/* Bumped at each change of the set of started modules; http/ rebuilds its router when it moved. */
uint64_t modules_revision(void);

/* Run the entry's handler as call c: pins the generation, counts, runs it again where store_may_retry says so, then
 * before_commit (may be NULL) and commit, or rollback. c->entry and c->generation are set. [S] */
sl_err module_invoke(call *c, struct entry *e, sl_err (*before_commit)(call *c));
sl_err module_invoke_job(call *c, void *entry, sl_err (*before_commit)(call *c)); /* the same, as jobs_start wants it */
/* As `ask`: a new call with its own transaction on behalf of `caller`. [S] */
sl_err module_ask(call *c, sl_str entry, sl_str json, uint32_t timeout_ms, const char *caller, const sl_msg **out);
/* How a module's child process is; false: it runs in this process, or has none now. */
struct module_process {
    int pid; /* 0 = none at the moment */
    uint32_t starts, crashes;
    bool quarantined;
    uint64_t resident;  /* bytes */
    int64_t cpu_us;     /* processor time of the process that runs now */
    int64_t crashed_at; /* microseconds since 1970; 0 = never */
    char last_crash[160];
};
bool module_process(const struct module *m, struct module_process *out);
bool module_isolated(const struct module *m); /* does it run in a child process, or would it? */
void crash_watch(void); /* from now on a crash says which plugin, entry and build it was before the process ends */
int cell_child_main(const struct module_hooks *hooks); /* the whole life of such a child; its exit code */
sl_err module_health(call *c, struct module *m, char *why, size_t why_size); /* [S] SL_OK = ready */

/* ---- changes while the server runs: change.c, reload.c ---- */
enum module_action { MODULE_RELOAD, MODULE_ENABLE, MODULE_DISABLE, MODULE_UNLOAD };
/* [S] One at a time: waits in line, within the caller's deadline. `edition`: the m->edition that the caller has seen,
 * or NULL. SL_OK: done, or nothing to do; SL_EPRECOND: the module changed since; SL_ECONFLICT: not possible now;
 * SL_EINVAL: the new generation is not good, the old one serves on; SL_EBUSY: the server stops or is full. m->last says
 * it in words. A change that began goes on when the caller leaves. */
sl_err module_change(call *c, struct module *m, enum module_action action, const uint64_t *edition,
                     struct module_change *out);
/* ---- plan.c: another configuration. All between module_lock_wait and module_unlock. ---- */
struct module_step {
    struct module *module;
    enum module_action action;
    char reason[400], outcome[512]; /* outcome before it is done: why it cannot be */
    bool must;                      /* the configuration asks for it: when it cannot be, nothing is done */
    bool done, good;
    uint32_t from, to;          /* generations; 0 = none */
    struct generation *checked; /* private */
};
struct module_plan {
    struct module_step *steps; /* modules that nothing changes for are not in it */
    size_t n;
    bool linked_differ; /* settings of a module that is part of the server: read at the start only */
    /* ---- private ---- */
    const struct config *now, *next;
    arena *memory;
    struct plugin_file *files;
    bool other_directories;
};
sl_err module_lock_wait(call *c); /* [S] one change of modules at a time, in line; SL_EBUSY: the server stops */
void module_unlock(void);
const char *module_action_name(enum module_action a);
/* [S] What `next` changes among the modules. Files are looked for anew, everything is checked as far as that goes
 * without running a plugin's code in this process. SL_EINVAL: errors has a line for each thing that is wrong.
 * modules_plan_free in any case. other_directories: modules.dirs differs. */
sl_err modules_plan(call *c, const struct config *next, bool other_directories, struct module_plan *p, buf *errors);
/* [S] Do it; from now on `next` is the configuration and must live. False: a step that must be failed, its outcome says
 * why, the others are done all the same. */
bool modules_apply(call *c, struct module_plan *p);
void modules_plan_free(struct module_plan *p);
/* [S] While m hands its state over a new call waits here. SL_EUNAVAIL: too many wait. Afterwards look the entry up
 * again. */
sl_err module_hold_wait(call *c, struct module *m);
#endif
