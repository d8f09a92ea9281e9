/* server.c - the server as a whole: start, time limits by one sweep, draining, counters, reloading certificates, close.
 */
#include "base/log.h"
#include "net/conn.h"
#include <openssl/ssl.h>
#include <signal.h>
#include <stdlib.h>

struct server srv;

/* One timer looks over all connections, so that no request starts or stops one. It runs while there are connections.
 * The look itself comes behind the reading of this turn: when something held the loop, bytes that came in time are
 * taken before their connection is found too slow. */
struct sweep {
    uv_timer_t timer;
    uv_check_t behind_reading;
    unsigned open; /* handles not closed yet */
};
static struct sweep *sweep;

static void on_read(uv_check_t *check)
{
    uint64_t now = loop_now();
    uv_check_stop(check);
    for (struct conn *c = srv.conns, *next; c; c = next) {
        next = c->next; /* conn_check ends at most its own */
        conn_check(c, now);
    }
}

static void on_sweep(uv_timer_t *t)
{
    (void)t;
    uv_check_start(&sweep->behind_reading, on_read);
}

static uint32_t sweep_interval(const struct server_config *cfg)
{
    const uint32_t limits[] = { cfg->header_ms, cfg->body_ms, cfg->idle_ms, cfg->write_ms };
    uint32_t least = 2000;
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        if (limits[i] && limits[i] < least) least = limits[i];
    return least < 40 ? 10 : least / 4;
}

struct proxies {
    struct cidr *list;
    size_t n;
    bool trust_unix;
};

static bool read_proxies(const struct server_config *cfg, struct proxies *out, char *why, size_t why_size)
{
    *out = (struct proxies){ .list = calloc(cfg->n_trusted_proxies + 1, sizeof *out->list) };
    if (!out->list) abort();
    for (size_t i = 0; i < cfg->n_trusted_proxies; i++) {
        sl_str p = cfg->trusted_proxies[i];
        if (sl_is(p, "unix")) {
            out->trust_unix = true;
        } else if (!cidr_parse(p, &out->list[out->n++])) {
            snprintf(why, why_size, "trusted proxy \"%.*s\" is neither an address, a CIDR block nor \"unix\"",
                     (int)(p.n > 100 ? 100 : p.n), p.p);
            free(out->list);
            return false;
        }
    }
    return true;
}

static void take_proxies(const struct proxies *p)
{
    free(srv.proxies);
    srv.proxies = p->list;
    srv.n_proxies = p->n;
    srv.trust_unix = p->trust_unix;
}

static void take_limits(const struct server_config *cfg)
{
    srv.cfg = *cfg;
    if (!srv.cfg.max_connections) srv.cfg.max_connections = SIZE_MAX;
    if (!srv.cfg.max_header_bytes) srv.cfg.max_header_bytes = 32 << 10;
    if (!srv.cfg.max_headers) srv.cfg.max_headers = 100;
}

static SSL_CTX *read_certificate(const struct server_config *cfg, char *why, size_t why_size)
{
    char *cert = strndup(cfg->tls_cert.p, cfg->tls_cert.n), *key = strndup(cfg->tls_key.p, cfg->tls_key.n);
    if (!cert || !key) abort();
    SSL_CTX *tls = tls_context(cert, key, why, why_size);
    free(cert);
    free(key);
    return tls;
}

static bool setup(const struct server_config *cfg, char *why, size_t why_size)
{
    if (!cfg->n_listen) {
        snprintf(why, why_size, "no listen address is given");
        return false;
    }
    if (!cfg->tls_cert.n != !cfg->tls_key.n) {
        snprintf(why, why_size, "TLS needs both a certificate and a key");
        return false;
    }
    struct proxies proxies;
    if (!read_proxies(cfg, &proxies, why, why_size)) return false;
    take_proxies(&proxies);
    if (cfg->tls_cert.n && !(srv.tls = read_certificate(cfg, why, why_size))) return false;
    return listen_all(cfg->listen, cfg->n_listen, cfg->reuse_port, why, why_size);
}

static void on_sweep_closed(uv_handle_t *h)
{
    struct sweep *s = h->data;
    if (--s->open == 0) free(s);
}

static void on_next_turn_closed(uv_handle_t *h) { free(h); }

int server_start(const struct server_config *cfg, const struct server_hooks *hooks, char *why, size_t why_size)
{
    srv = (struct server){ .hooks = *hooks };
    take_limits(cfg);
    if (cfg->name) snprintf(srv.name, sizeof srv.name, "%s", cfg->name);
    signal(SIGPIPE, SIG_IGN); /* a client that left is an error code, not a signal */
    parse_setup(&srv.parser);
    srv.running = true;
    if (!setup(cfg, why, why_size)) {
        server_close();
        return -1;
    }
    srv.next_turn = malloc(sizeof *srv.next_turn);
    if (!srv.next_turn) abort();
    uv_idle_init(loop_uv(), srv.next_turn);
    sweep = calloc(1, sizeof *sweep);
    if (!sweep) abort();
    uv_timer_init(loop_uv(), &sweep->timer);
    uv_check_init(loop_uv(), &sweep->behind_reading);
    sweep->timer.data = sweep->behind_reading.data = sweep;
    sweep->open = 2;
    uv_unref((uv_handle_t *)&sweep->behind_reading);
    uint32_t every = sweep_interval(cfg);
    uv_timer_start(&sweep->timer, on_sweep, every, every);
    uv_unref((uv_handle_t *)&sweep->timer); /* the connections keep the loop alive */
    return 0;
}

/* The certificate files are read again in any case: a renewed certificate has its old name. */
int server_reconfigure(const struct server_config *cfg, bool only_check, char *why, size_t why_size)
{
    struct proxies proxies;
    SSL_CTX *tls = NULL;
    if (!cfg->tls_cert.n != !srv.tls) {
        snprintf(why, why_size, "TLS cannot be switched on or off while the server runs");
        return -1;
    }
    if (!read_proxies(cfg, &proxies, why, why_size)) return -1;
    bool good = !srv.tls || (tls = read_certificate(cfg, why, why_size));
    if (!good || only_check) {
        free(proxies.list);
        SSL_CTX_free(tls);
        return good ? 0 : -1;
    }
    take_limits(cfg);
    take_proxies(&proxies);
    SSL_CTX_free(srv.tls); /* connections hold references of their own */
    srv.tls = tls;
    uv_timer_set_repeat(&sweep->timer, sweep_interval(cfg));
    return 0;
}

void server_drain(void)
{
    srv.draining = true;
    listen_close();
    for (struct conn *c = srv.conns, *next; c; c = next) {
        next = c->next;
        if (c->phase == CONN_HANDSHAKE)
            conn_close(c);
        else if (c->phase == CONN_IDLE)
            conn_work(c); /* closes it unless something is still to be written or parsed */
    }
}

size_t server_connections(void) { return srv.stats.connections; }
struct server_stats server_stats(void) { return srv.stats; }

void server_close(void)
{
    if (!srv.running) return;
    listen_close();
    while (srv.conns)
        conn_close(srv.conns);
    srv.running = false;
    if (sweep) {
        uv_close((uv_handle_t *)&sweep->timer, on_sweep_closed);
        uv_close((uv_handle_t *)&sweep->behind_reading, on_sweep_closed);
    }
    sweep = NULL;
    if (srv.next_turn) uv_close((uv_handle_t *)srv.next_turn, on_next_turn_closed);
    srv.next_turn = NULL;
    SSL_CTX_free(srv.tls);
    srv.tls = NULL;
    free(srv.proxies);
    srv.proxies = NULL;
    srv.n_proxies = 0;
    requests_clear();
    spare_clear();
}
