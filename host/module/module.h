/* module.h - plugins in the process: modules, their generations and entries, and running an entry as a call. */
#ifndef MODULE_MODULE_H
#define MODULE_MODULE_H
#include "base/json.h"
#include "loop/loop.h"

enum module_status { MODULE_REGISTERED, MODULE_WAITING, MODULE_STARTING, MODULE_STARTED, MODULE_FAILED, MODULE_STOPPING,
                     MODULE_STOPPED, MODULE_DISABLED };
const char *module_status_name(enum module_status s);

struct generation;
struct entry {                     /* one row of a plugin's table, every string copied out of the plugin */
    sl_entry spec;
    struct generation *generation;
    uint32_t index, inflight;
    json_t *in, *query, *out;      /* schemas, normalised, or NULL */
    void *http;                    /* http/'s own note (compiled route and schemas) */
};
struct generation {                /* one loaded copy of a plugin; freed when the last call that pins it ends */
    struct module *module;
    uint32_t number, calls;        /* calls that pin it */
    void *handle;                  /* dlopen; NULL = linked in */
    char *path;                    /* private copy that was opened */
    const sl_plugin *plugin;       /* the plugin's own descriptor; do not read strings through it */
    sl_host host;                  /* tables as granted */
    void *self;
    struct entry *entries;
    size_t n_entries;
    void **metrics;                /* struct metric * by index */
    bool draining;
};
struct module {
    char name[64], version[32];
    char *doc, *path, *grants;     /* path: the file that was found; "" = linked in */
    char **needs;                  /* names of plugins it needs, NULL-terminated */
    json_t *config;                /* effective, checked */
    enum module_status status;
    char error[512];               /* why it failed or waits */
    bool required, enabled, first_party;
    struct generation *current;
    int64_t started_at, stopped_at, start_us, stop_us; /* times and how long they took */
    uint32_t restarts;
    uint64_t calls, errors, slow;
    struct module *next;
};
struct module *modules_first(void);            /* in start order */
struct module *module_find(sl_str name);
struct entry *module_compute(sl_str name);     /* a started plugin's SL_COMPUTE entry or NULL */
/* Bumped at each change of the set of started modules; http/ rebuilds its router when it moved. */
uint64_t modules_revision(void);

/* Run the entry's handler as call c: pins the generation, counts, runs it again where store_may_retry says so, then
 * before_commit (may be NULL) and commit, or rollback. c->entry and c->generation are set. [S] */
sl_err module_invoke(call *c, struct entry *e, sl_err (*before_commit)(call *c));
/* As `ask`: a new call with its own transaction on behalf of `caller`. [S] */
sl_err module_ask(call *c, sl_str entry, sl_str json, uint32_t timeout_ms, const char *caller, const sl_msg **out);
sl_err module_health(call *c, struct module *m, char *why, size_t why_size); /* [S] SL_OK = ready */
#endif
