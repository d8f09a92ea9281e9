/* abi.h - the whole binary contract between a Service Layer host and a plugin: plain data, C11 and C++17. */
#ifndef SERVICE_LAYER_ABI_H
#define SERVICE_LAYER_ABI_H
#include <stddef.h>
#include <stdint.h>

/* Rules that hold for everything below
 * - Only data crosses: counted bytes, numbers, flat arrays. The same .so runs in the server or in a child process.
 * - Lifetime: what a handler receives lives until it returns; what it passes is copied before the function returns.
 *   There is no free function.
 * - [S] marks a function that may suspend the handler's fiber. Hold no lock and no thread-local across one. Deadline,
 *   cancellation and drain arrive as SL_ETIME or SL_ECANCEL from such a function: clean up and return it.
 * - A call is a transaction: it opens with the first write, commits when the handler returns SL_OK together with
 *   everything published and enqueued, and rolls back on any other return. While it is open only store functions may
 *   be waited for; fetch, sleep, ask and offload then fail with SL_ESTATE and the host logs the handler's name.
 * - Growth: structures and tables are only appended to and carry their size; a new capability is a new table. */

#define SL_MAJOR 1u /* breaks: one host runs exactly one major     */
#define SL_MINOR 0u /* grows: fields and functions are appended    */

typedef int32_t sl_err; /* 0 or one of the negative codes below */
enum {
    SL_OK = 0,
    SL_EINVAL = -1,     /* an argument or input is wrong                      -> 400 */
    SL_ENOENT = -2,     /* no such thing, or a row's parent is gone           -> 404 */
    SL_EDENIED = -3,    /* not allowed, or not granted to this plugin         -> 403 */
    SL_ECONFLICT = -4,  /* a unique key is taken, or the state forbids it     -> 409 */
    SL_EPRECOND = -5,   /* If-Match does not hold                             -> 412 */
    SL_ETOOBIG = -6,    /* a documented limit is exceeded                     -> 413 */
    SL_EBUSY = -7,      /* too much at once; try again later                  -> 429 */
    SL_ECANCEL = -8,    /* the client left, or the module is being drained    -> 503 */
    SL_ETIME = -9,      /* the deadline passed                                -> 504 */
    SL_EUPSTREAM = -10, /* an outside system failed                           -> 502 */
    SL_EUNAVAIL = -11,  /* the store or another plugin cannot be reached now  -> 503 */
    SL_ESTATE = -12,    /* not allowed at this point (a programming error)    -> 500 */
    SL_EINTERNAL = -13, /* anything else                                      -> 500 */
    SL_EREPLIED = -14,  /* sl_core.problem was called: roll back, send it            */
    SL_EDEAD = -15      /* a job's own word that no further attempt can help         */
};

typedef struct sl_str {
    const char *p;
    size_t n;
} sl_str; /* bytes, no NUL after the last; p == NULL means absent */
typedef struct sl_pair {
    sl_str name, value;
} sl_pair;

enum { SL_NULL, SL_INT, SL_REAL, SL_TEXT, SL_BLOB };
typedef struct sl_value {
    uint64_t type;
    union {
        int64_t i;
        double d;
        sl_str s;
    };
} sl_value;

typedef struct sl_rows { /* host-owned, lives as long as the call */
    uint32_t size, cols, rows, reserved;
    int64_t changed;       /* rows touched by a write */
    const sl_str *names;   /* cols */
    const sl_value *cells; /* rows * cols, row by row */
} sl_rows;

typedef struct sl_host sl_host;
typedef struct sl_call {
    const sl_host *host;
} sl_call; /* the public head; the rest is the host's */
typedef sl_err sl_handler(void *self, sl_call *c);

/* ---- what a plugin offers: tables of rows, nothing is registered at run time ---- */
enum sl_kind {
    SL_ROUTE = 1, /* "GET /accounts/{account}/things" */
    SL_EVENT,    /* a topic, "account.deleted"; "things.*" takes the whole family. Delivered at least once per plugin */
    SL_SCHEDULE, /* any name; .schedule says when. Runs once per tick however many replicas there are */
    SL_JOB,      /* a job kind, "things.build" */
    SL_COMPUTE   /* a question other plugins may ask, "things.price" */
};
enum {
    SL_POOL = 1u,       /* CPU-bound: run on the worker pool; no [S] function may be called      */
    SL_STREAM = 2u,     /* replies in pieces: sl_core.reply, then sl_core.write as often as needed */
    SL_IDEMPOTENT = 4u, /* may be repeated once when its process dies                              */
    SL_SENSITIVE = 8u,  /* body and reply hold secrets: never logged, never kept for Idempotency-Key */
    SL_LIST = 16u       /* a route that answers by reply_list; `out` is one item */
};
typedef struct sl_entry {
    uint64_t kind; /* enum sl_kind */
    const char *name;
    sl_handler *run;
    const char *scope;            /* what the caller must hold; NULL on a route = public */
    const char *in, *query, *out; /* JSON Schema of body, query parameters and success body; NULL = none */
    const char *doc;              /* one sentence */
    const char *schedule;         /* SL_SCHEDULE: "@every 30s", "@hourly" or five cron fields, UTC */
    uint32_t flags;
    uint32_t status;       /* success status for the documentation; 0 = 200 */
    uint32_t deadline_ms;  /* 0 = the host's default for the kind */
    uint32_t max_inflight; /* 0 = no limit of its own; beyond it callers get SL_EBUSY */
    uint32_t attempts;     /* SL_JOB, SL_EVENT: 0 = the host's default */
    uint32_t backoff_ms;   /* SL_JOB, SL_EVENT: first retry delay; doubles with jitter; 0 = the host's default */
    const char *problems;  /* SL_ROUTE, for the documentation: problems of its own, "409 taken, 410 destroyed" */
} sl_entry;

enum { SL_COUNTER = 1, SL_GAUGE, SL_HISTOGRAM };
typedef struct sl_metric {
    uint64_t kind;
    const char *name, *doc;
    const char *labels; /* "status,reason": names, in the order in which values are passed; NULL = none */
} sl_metric;

typedef struct sl_need {
    const char *id; /* "sl.store" and its least version, or another plugin's name and least major version */
    uint32_t min, optional;
} sl_need;

typedef struct sl_lifecycle { /* every step may be NULL; each runs as a call on a fiber */
    uint32_t size, state_version;
    sl_err (*create)(sl_call *c, void **self); /* [S] read config, build state; no outside effects */
    sl_handler *start;                         /* [S] the older generation, if any, still serves */
    sl_handler *stop;                          /* [S] the door is closed and calls have drained */
    void (*destroy)(void *self);               /* give everything back; must not suspend */
    sl_handler *health;                        /* [S] SL_OK, or sl_core.problem with the reason */
    sl_handler *save;                          /* [S] hand-over: reply with the state */
    sl_handler *load; /* [S] hand-over: SL_IN_BODY "" is the state, fact "state_version" its version */
} sl_lifecycle;

typedef struct sl_plugin {
    uint32_t size, major, minor, entry_size, metric_size, need_size;
    uint32_t n_entries, n_metrics, n_needs, stack_kib; /* stack_kib 0 = 64 */
    const char *name, *version, *doc;
    const char *config; /* JSON Schema of the plugin's configuration: checked, defaults filled in, before create */
    const char *grants; /* "store:things_* publish:things.* ask:secrets.resolve net:*" */
    const sl_entry *entries;
    const sl_metric *metrics;
    const sl_need *needs;
    const sl_lifecycle *lifecycle;
} sl_plugin;

#if defined(__GNUC__)
#define SL_EXPORT __attribute__((visibility("default")))
#else
#define SL_EXPORT
#endif
#ifdef __cplusplus
extern "C" {
#endif
extern SL_EXPORT const sl_plugin sl_plugin_v1; /* the one exported symbol of a plugin */
#ifdef __cplusplus
}
#endif

/* ---- what the host offers: one table a capability, reached through sl_call.host ---- */
enum sl_from {                 /* where sl_core.input looks; an absent value is {NULL, 0} */
               SL_IN_PATH = 1, /* a {parameter} of the route */
               SL_IN_QUERY,    /* a query parameter, decoded, default filled in from the schema */
               SL_IN_HEADER,   /* a request header, name in lower case */
               SL_IN_BODY,     /* a top-level field of the JSON body: text decoded, anything else as JSON text; "" = the
                                  whole body */
               SL_IN_CONFIG,   /* a top-level field of the plugin's configuration; "" = all of it */
               SL_IN_FACT      /* tenant actor role request_id trace_id traceparent method route remote
                                  job_id job_key attempt max_attempts event_id topic tick caller state_version reason */
};
enum { SL_DEBUG = 1, SL_INFO, SL_WARN, SL_ERROR };

typedef struct sl_core { /* "sl.core": in a child process these run there, without a round trip */
    uint32_t size, version;
    sl_str (*input)(sl_call *c, uint32_t from, sl_str name);
    /* The answer; the last call before the handler returns wins. With SL_STREAM it sends the head and first piece [S].
     */
    sl_err (*reply)(sl_call *c, int32_t status, sl_str type, sl_str body);
    sl_err (*header)(sl_call *c, sl_str name, sl_str value); /* before reply; SL_EINVAL for reserved names */
    sl_err (*write)(sl_call *c, sl_str piece);               /* [S] SL_STREAM only; waits while the client is slow */
    /* Rows as JSON by the entry's `out` schema: unnamed columns are left out, date-time = microseconds, decimal =
     * 10^-8, duration = milliseconds, boolean = 0/1, object and array = JSON text. Exactly one row, else SL_ENOENT. A
     * column named `version` becomes the ETag. */
    sl_err (*reply_row)(sl_call *c, int32_t status, const sl_rows *rows);
    sl_err (*problem)(sl_call *c, int32_t status, sl_str code, sl_str detail); /* always returns SL_EREPLIED */
    void *(*alloc)(sl_call *c, size_t n); /* zeroed, 16-byte aligned, gone with the call; NULL past the call's limit */
    void (*log)(sl_call *c, uint32_t level, sl_str text, const sl_pair *fields, uint32_t n);
    int64_t (*now)(void);                     /* microseconds since 1970, UTC */
    int64_t (*monotonic)(void);               /* nanoseconds */
    sl_str (*new_id)(sl_call *c);             /* UUIDv7 (RFC 9562), 36 characters */
    void (*random)(void *out, size_t n);      /* from the kernel's generator */
    sl_err (*sleep)(sl_call *c, uint32_t ms); /* [S] */
    sl_err (*offload)(sl_call *c, void (*work)(void *arg),
                      void *arg); /* [S] work runs on the thread pool, always to its end */
    /* A value inside JSON text by RFC 6901 pointer: text decoded, anything else as JSON text. Absent, null or bad: p ==
     * NULL. */
    sl_str (*json)(sl_call *c, sl_str json, sl_str pointer);
} sl_core;

typedef struct sl_store { /* "sl.store": portable SQL, $1.. parameters; see docs/contract.md for the dialect */
    uint32_t size, version;
    /* [S] One statement. A SELECT outside a transaction reads the latest committed state; any other statement opens the
     * call's transaction. SL_ECONFLICT unique key, SL_ENOENT foreign key, SL_EINVAL bad SQL or type, SL_ETOOBIG row
     * limit. */
    sl_err (*query)(sl_call *c, const sl_rows **out, sl_str sql, const sl_value *args, uint32_t n);
    /* [S] Answer a list: `sql` holds {{page}} where the host puts the keyset condition, order and limit from the query
     * parameters `cursor` and `limit`; the statement must have a where clause and the table an `id` (UUIDv7). Newest
     * first. */
    sl_err (*reply_list)(sl_call *c, sl_str sql, const sl_value *args, uint32_t n);
    sl_err (*lock)(sl_call *c,
                   sl_str name);  /* [S] opens the transaction; one holder of the name at a time, until it ends */
    sl_err (*commit)(sl_call *c); /* [S] commit now and go on outside a transaction */
} sl_store;

typedef struct sl_msg {
    uint32_t size;
    int32_t status;
    sl_str type, body;
} sl_msg;
typedef struct sl_bus { /* "sl.bus" */
    uint32_t size, version;
    sl_err (*publish)(sl_call *c, sl_str topic, sl_str key,
                      sl_str json); /* joins the transaction; opens one if none is */
    /* [S] Another plugin's SL_COMPUTE entry, in a transaction of its own. A problem comes back as SL_OK with its status
     * in out; SL_ENOENT no such entry, SL_EUNAVAIL its plugin is down. timeout_ms 0 = what is left of the call's
     * deadline. */
    sl_err (*ask)(sl_call *c, sl_str entry, sl_str json, uint32_t timeout_ms, const sl_msg **out);
} sl_bus;

typedef struct sl_job {
    uint32_t size, attempts; /* attempts 0 = the entry's own */
    sl_str kind, key, json;  /* key: at most one waiting or running job of a kind has it; absent = none */
    int64_t run_at;          /* microseconds since 1970; 0 = now */
    sl_str tenant;           /* for whom it runs; absent = the call's. Only a call without one (a schedule) may say */
} sl_job;
typedef struct sl_jobs { /* "sl.jobs": all join the transaction; they open one if none is */
    uint32_t size, version;
    sl_err (*enqueue)(sl_call *c, const sl_job *job);      /* a key that is taken: nothing happens, SL_OK */
    sl_err (*cancel)(sl_call *c, sl_str kind, sl_str key); /* drop it if it waits; one that runs sees its lease end */
    /* For a job's handler: `return jobs->retry(...)` rolls back and runs it again after delay_ms (attempts permitting).
     */
    sl_err (*retry)(sl_call *c, uint32_t delay_ms, sl_str why);
} sl_jobs;

typedef struct sl_request {
    uint32_t size, timeout_ms;         /* 0 = what is left of the call's deadline */
    uint32_t max_bytes, max_redirects; /* max_bytes of the decoded body; 0 = the host's default / no redirect */
    sl_str method, url, body;
    const sl_pair *headers;
    uint64_t n_headers;
} sl_request;
typedef struct sl_response { /* host-owned, lives as long as the call */
    uint32_t size;
    int32_t status; /* 0 when no answer came */
    uint32_t elapsed_ms, redirects;
    uint64_t wire_bytes;
    sl_str type, body, address; /* address: the IP that was connected to */
    sl_str
        error_class; /* absent when an answer came; else dns connect blocked tls timeout too_large redirect protocol */
    sl_str error;    /* a sentence */
    const sl_pair *headers;
    uint64_t n_headers;
} sl_response;
typedef struct sl_http { /* "sl.http": outbound requests; private and special addresses refused unless the operator
                            allows them */
    uint32_t size, version;
    /* [S] SL_OK whenever an answer came, whatever its status; else SL_EUPSTREAM (SL_ETIME, SL_ETOOBIG, SL_EDENIED) and
     * out says why. SL_EINVAL: the request itself is malformed. */
    sl_err (*fetch)(sl_call *c, const sl_request *r, const sl_response **out);
} sl_http;

typedef struct sl_metrics { /* "sl.metrics": `metric` is an index into the descriptor's table */
    uint32_t size, version;
    void (*add)(sl_call *c, uint32_t metric, double v, const sl_str *labels,
                uint32_t n); /* counter, histogram: v >= 0 */
    void (*set)(sl_call *c, uint32_t metric, double v, const sl_str *labels, uint32_t n); /* gauge */
} sl_metrics;

typedef struct sl_crypto { /* "sl.crypto": envelope encryption under the operator's keys, which never leave the host */
    uint32_t size, version;
    /* AES-256-GCM under a random data key, wrapped by the current master key; aad is bound in. */
    sl_err (*seal)(sl_call *c, sl_str aad, sl_str plain, sl_str *blob);
    sl_err (*unseal)(sl_call *c, sl_str aad, sl_str blob, sl_str *plain); /* SL_EDENIED: tampered, or key unknown */
    sl_err (*rewrap)(sl_call *c, sl_str aad, sl_str blob, sl_str *out); /* same data key under the current master key */
    sl_str (*key_id)(sl_call *c, sl_str blob); /* of the master key that wraps blob; empty blob = the current one */
} sl_crypto;

struct sl_host {
    uint32_t size, minor, isolated, generation; /* isolated: 1 in a child process */
    const sl_core *core;                        /* a table that was not needed or not granted is NULL */
    const sl_store *store;
    const sl_bus *bus;
    const sl_jobs *jobs;
    const sl_http *http;
    const sl_metrics *metrics;
    const sl_crypto *crypto;
};
#endif
