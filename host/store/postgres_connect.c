/* postgres_connect.c - from a DSN to connections: options, attempts with growing delay, connections that leave. */
#include "base/log.h"
#include "loop/loop.h"
#include "store/postgres.h"
#include <stdlib.h>
#include <string.h>

/* libpq connects on the thread pool: it resolves names, shakes hands for TLS and computes SCRAM keys in its caller's
 * thread, and only its blocking form goes on to the next host of a list when one is silent. */
enum { DELAY_MIN_MS = 50, DELAY_MAX_MS = 1000, CONNECTING_MAX = 2 };

/* ---- options ---- */

/* sl_direct=1 in the URI's query: the connection reaches the server itself, so what a session keeps (prepared
 * statements) is ours. Without it nothing is kept, and a pooler in transaction mode may stand between. Cut out, since
 * libpq does not know it. */
static bool take_direct(char *dsn, bool *direct, char *why, size_t why_size)
{
    *direct = false;
    char *query = strchr(dsn, '?');
    for (char *at = query; at && (at = strstr(at + 1, "sl_direct="));) {
        if (at[-1] != '?' && at[-1] != '&') continue;
        char *value = at + strlen("sl_direct="), *end = value + strcspn(value, "&");
        if (end != value + 1 || (*value != '0' && *value != '1')) {
            snprintf(why, why_size, "sl_direct in the DSN must be 0 or 1");
            return false;
        }
        *direct = *value == '1';
        if (*end)
            memmove(at, end + 1, strlen(end + 1) + 1);
        else
            at[-1] = 0;
        return true;
    }
    return true;
}

static void set_option(size_t *n, const char *key, const char *value)
{
    pg_pool.keys[*n] = strdup(key);
    pg_pool.values[*n] = strdup(value);
    if (!pg_pool.keys[*n] || !pg_pool.values[*n]) abort();
    ++*n;
}

static unsigned count_hosts(const PQconninfoOption *o)
{
    unsigned most = 1;
    for (; o->keyword; o++) {
        if (!o->val || (strcmp(o->keyword, "host") && strcmp(o->keyword, "hostaddr"))) continue;
        unsigned n = 1;
        for (const char *p = o->val; *p; p++)
            n += *p == ',';
        if (n > most) most = n;
    }
    return most;
}

static bool far_away(const char *name)
{
    return name && *name && *name != '/' && strcmp(name, "localhost") != 0 && strncmp(name, "127.", 4) != 0 &&
           strcmp(name, "::1") != 0;
}

static void warn_if_open_to_others(const PQconninfoOption *o)
{
    const char *at = NULL, *mode = NULL;
    for (; o->keyword; o++) {
        if ((strcmp(o->keyword, "host") == 0 || strcmp(o->keyword, "hostaddr") == 0) && far_away(o->val)) at = o->val;
        if (strcmp(o->keyword, "sslmode") == 0) mode = o->val;
    }
    if (at && mode && (strcmp(mode, "disable") == 0 || strcmp(mode, "allow") == 0))
        log_warn("the database connection is not encrypted: set sslmode=verify-full", LOG_C("host", at),
                 LOG_C("sslmode", mode));
}

bool pg_connect_options(const struct store_config *cfg, char *why, size_t why_size)
{
    char *dsn = strndup(cfg->dsn.p, cfg->dsn.n), *error = NULL;
    if (!dsn) abort();
    PQconninfoOption *options = NULL;
    if (take_direct(dsn, &pg_pool.direct, why, why_size) && !(options = PQconninfoParse(dsn, &error)))
        snprintf(why, why_size, "the DSN cannot be read: %.*s", error ? (int)strcspn(error, "\n") : 0,
                 error ? error : "");
    PQfreemem(error);
    free(dsn);
    if (!options) return false;
    warn_if_open_to_others(options);
    unsigned seconds = (cfg->connect_ms + 999) / 1000 / count_hosts(options); /* of each host; libpq takes at least 2 */
    char timeout[16];
    snprintf(timeout, sizeof timeout, "%u", seconds < 2 ? 2 : seconds);
    /* A peer that is gone without a word is noticed within seconds. All of it is the client's own matter, so no pooler
     * minds. */
    const char *defaults[][2] = { { "connect_timeout", timeout },  { "fallback_application_name", "service-layer" },
                                  { "tcp_user_timeout", "15000" }, { "keepalives_idle", "15" },
                                  { "keepalives_interval", "5" },  { "keepalives_count", "3" },
                                  { "client_encoding", "UTF8" } };
    size_t n = 0, known = 0, n_defaults = sizeof defaults / sizeof *defaults;
    while (options[known].keyword)
        known++;
    pg_pool.keys = calloc(known + n_defaults + 1, sizeof *pg_pool.keys);
    pg_pool.values = calloc(known + n_defaults + 1, sizeof *pg_pool.values);
    if (!pg_pool.keys || !pg_pool.values) abort();
    for (size_t i = 0; i < n_defaults; i++)
        set_option(&n, defaults[i][0], defaults[i][1]);
    for (PQconninfoOption *o = options; o->keyword;
         o++) /* the later of two wins in libpq; the encoding is not for choice */
        if (o->val && strcmp(o->keyword, "client_encoding")) set_option(&n, o->keyword, o->val);
    PQconninfoFree(options);
    return true;
}

void pg_connect_options_free(void)
{
    for (size_t i = 0; pg_pool.keys && pg_pool.keys[i]; i++) {
        free(pg_pool.keys[i]);
        explicit_bzero(pg_pool.values[i], strlen(pg_pool.values[i]));
        free(pg_pool.values[i]);
    }
    free(pg_pool.keys);
    free(pg_pool.values);
    pg_pool.keys = pg_pool.values = NULL;
}

/* ---- attempts ---- */

struct attempt {
    uv_work_t work;
    struct pg_conn *conn;
    unsigned epoch;
};

static void connect_work(uv_work_t *w)
{
    struct attempt *a = w->data;
    a->conn->pq = PQconnectdbParams((const char *const *)pg_pool.keys, (const char *const *)pg_pool.values, 0);
}

static void connect_failed(struct pg_conn *conn, const char *text)
{
    snprintf(pg_pool.why, sizeof pg_pool.why, "%.*s", (int)strcspn(text, "\n"), text);
    if (!pg_pool.delay && !pg_pool.closing) log_warn("postgres: cannot connect", LOG_C("reason", pg_pool.why));
    pg_pool.failed = true;
    pg_pool.delay = pg_pool.delay ? pg_pool.delay * 2 : DELAY_MIN_MS;
    if (pg_pool.delay > DELAY_MAX_MS) pg_pool.delay = DELAY_MAX_MS;
    pg_pool.next_attempt = loop_now() + pg_pool.delay;
    PQfinish(conn->pq);
    conn->pq = NULL;
    conn->state = PG_CLOSED;
    pg_pool_gone(conn, true);
}

static void connect_done(uv_work_t *w, int status)
{
    struct attempt *a = w->data;
    struct pg_conn *conn = a->conn;
    pg_pool.n_connecting--;
    uv_update_time(loop_uv());
    if (status || pg_pool.closing)
        connect_failed(conn, "the store is closed");
    else if (PQstatus(conn->pq) != CONNECTION_OK)
        connect_failed(conn, PQerrorMessage(conn->pq));
    else if (!pg_conn_adopt(conn))
        connect_failed(conn, "the connection could not be set up");
    else {
        if (pg_pool.failed) log_info("postgres: connected again");
        pg_pool.failed = false;
        pg_pool.delay = pg_pool.next_attempt = 0;
        conn->counted = true;
        pg_pool.n_ready++;
        int64_t life = store_cfg()->lifetime_ms;
        conn->head_since = loop_now();
        conn->epoch = a->epoch;
        /* Up to a tenth earlier, so that connections opened together do not all end together. */
        conn->expires = life > 0 ? loop_now() + (uint64_t)life -
                                       (uint64_t)(life / 10) * (uint64_t)(PQbackendPID(conn->pq) % 8) / 8
                                 : 0;
    }
    free(a);
    pg_conn_unref(conn);
    pg_pool_turn();
}

static void connect_start(void)
{
    struct pg_conn *conn = calloc(1, sizeof *conn);
    struct attempt *a = calloc(1, sizeof *a);
    if (!conn || !a) abort();
    conn->state = PG_CONNECTING;
    conn->refs = 1;
    conn->next = pg_pool.conns;
    if (conn->next) conn->next->prev = conn;
    pg_pool.conns = conn;
    pg_pool.n_conns++;
    pg_pool.n_connecting++;
    a->conn = conn;
    a->epoch = pg_pool.epoch;
    a->work.data = a;
    if (uv_queue_work(loop_uv(), &a->work, connect_work, connect_done)) abort(); /* only fails for a NULL function */
}

void pg_connect_if_wanted(unsigned wanted)
{
    int limit = pg_pool.failed ? 1 : CONNECTING_MAX;
    while ((unsigned)pg_pool.n_connecting < wanted && pg_pool.n_connecting < limit &&
           pg_pool.n_conns < store_cfg()->max_open && loop_now() >= pg_pool.next_attempt && !pg_pool.closing)
        connect_start();
}

void pg_pool_gone(struct pg_conn *conn, bool failure)
{
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        pg_pool.conns = conn->next;
    if (conn->next) conn->next->prev = conn->prev;
    pg_pool.n_conns--;
    if (!conn->counted) return;
    if (--pg_pool.n_ready) return;
    pg_pool.unready_since = loop_now();
    if (failure && !pg_pool.closing) {
        pg_pool.failed = true;
        log_warn("postgres: the last connection is lost");
    }
}

void pg_pool_stale(struct pg_conn *conn)
{
    if (conn->epoch == pg_pool.epoch) pg_pool.epoch++;
}
