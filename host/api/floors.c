/* floors.c - what the configuration says to each floor of the host. */
#include "api/floors.h"
#include "audit/audit.h"
#include "base/log.h"
#include <unistd.h>

enum { SPARE_CALLS = 4096 }; /* beside requests and jobs: lifecycle steps, questions, work of the host itself */

struct store_config store_settings(const struct config *c)
{
    return (struct store_config){ .dsn = c->dsn,
                                  .max_open = (int)c->max_open_conns,
                                  .max_idle = (int)c->max_idle_conns,
                                  .lifetime_ms = c->conn_max_lifetime_ms,
                                  .connect_ms = (uint32_t)c->connect_ms,
                                  .max_rows = (size_t)c->max_rows,
                                  .max_bytes = (size_t)c->max_result_bytes };
}

struct jobs_config jobs_settings(const struct config *c)
{
    return (struct jobs_config){ .concurrency = (uint32_t)c->job_concurrency,
                                 .lease_ms = (uint32_t)c->job_lease_ms,
                                 .poll_ms = (uint32_t)c->job_poll_ms,
                                 .deadline_ms = (uint32_t)c->job_deadline_ms,
                                 .attempts = (uint32_t)c->job_attempts,
                                 .backoff_ms = (uint32_t)c->job_backoff_ms,
                                 .backoff_max_ms = (uint32_t)c->job_backoff_max_ms,
                                 .history_ms = c->job_history_ms };
}

struct server_config server_settings(const struct config *c)
{
    return (struct server_config){
        .listen = c->listen.item,
        .n_listen = c->listen.n,
        .tls_cert = c->tls_cert,
        .tls_key = c->tls_key,
        .trusted_proxies = c->trusted_proxies.item,
        .n_trusted_proxies = c->trusted_proxies.n,
        .max_connections = (size_t)c->max_connections,
        .max_header_bytes = (size_t)c->max_header_bytes,
        .max_headers = (size_t)c->max_headers,
        .max_body = (size_t)c->max_body,
        .header_ms = (uint32_t)c->header_ms,
        .body_ms = (uint32_t)c->body_ms,
        .idle_ms = (uint32_t)c->idle_ms,
        .write_ms = (uint32_t)c->write_ms,
        .body_min_rate = (uint32_t)c->body_min_rate,
        .reuse_port = c->reuse_port,
    };
}

static struct identity_config identity_settings(const struct config *c)
{
    return (struct identity_config){
        .api_tokens = c->api_tokens.item,
        .n_api_tokens = c->api_tokens.n,
        .admin_tokens = c->admin_tokens.item,
        .n_admin_tokens = c->admin_tokens.n,
        .metrics_token = c->metrics_token,
        .roles = c->roles.item,
        .n_roles = c->roles.n,
        .users = c->users.item,
        .n_users = c->users.n,
        .default_tenant = c->default_tenant,
        .jwt_secret = c->jwt_secret,
        .issuer = c->issuer,
        .access_ms = c->access_ms,
        .refresh_ms = c->refresh_ms,
        .wallets = c->wallets,
        .wallet_role = c->wallet_role,
        .wallet_tenant = c->wallet_tenant,
        .provider_keys = c->provider_keys,
        .provider_issuer = c->provider_issuer,
        .audience = c->audience,
        .role_claim = c->role_claim,
        .tenant_claim = c->tenant_claim,
        .provider_role = c->provider_role,
        .provider_tenant = c->provider_tenant,
        .provider_roles = c->provider_roles.item,
        .n_provider_roles = c->provider_roles.n,
        .leeway_ms = c->leeway_ms,
    };
}

static struct audit_config audit_settings(const struct config *c)
{
    return (struct audit_config){
        .on = c->audit,
        .file = c->audit_file,
        .file_max = c->audit_file_max,
        .file_keep = (unsigned)c->audit_file_keep,
        .refusals = (unsigned)c->audit_refusals,
        .keep_days = c->audit_keep_days,
    };
}

static struct http_config http_settings(const struct config *c)
{
    return (struct http_config){
        .identity = identity_settings(c),
        .default_tenant = c->default_tenant,
        .require_tenant = c->require_tenant,
        .check_answers = c->check_answers,
        .max_body = (size_t)c->max_body,
        .page_default = (size_t)c->page_default,
        .page_max = (size_t)c->page_max,
        .deadline_ms = (uint32_t)c->deadline_ms,
        .max_inflight = (size_t)c->max_inflight,
        .idempotency_ms = c->idempotency_ms,
        .cors_origins = c->cors_origins.item,
        .n_cors_origins = c->cors_origins.n,
        .token_rate = c->token_rate,
        .address_rate = c->address_rate,
        .tenant_rate = c->tenant_rate,
        .tenant_rates = c->tenant_rates.item,
        .n_tenant_rates = c->tenant_rates.n,
        .tenant_inflight = (uint32_t)c->tenant_inflight,
        .tenant_daily = (uint64_t)c->tenant_daily,
        .max_waiting = (unsigned)c->max_waiting,
    };
}

/* Texts of f point into ca and agent. */
static bool fetch_settings(const struct config *c, struct fetch_config *f, char ca[4096], char agent[64])
{
    *f = (struct fetch_config){
        .allow_private = c->outbound_allow_private,
        .allow = c->outbound_allow.item,
        .n_allow = c->outbound_allow.n,
        .max_total = (uint32_t)c->outbound_max_total,
        .max_per_host = (uint32_t)c->outbound_max_per_host,
        .default_ms = (uint32_t)c->outbound_timeout_ms,
        .max_bytes = (uint32_t)c->outbound_max_bytes,
        .user_agent = agent,
    };
    snprintf(agent, 64, "service-layer/%s", SL_VERSION);
    if (c->outbound_ca_file.n >= 4096) return false;
    memcpy(ca, c->outbound_ca_file.n ? c->outbound_ca_file.p : "", c->outbound_ca_file.n);
    ca[c->outbound_ca_file.n] = 0;
    if (ca[0]) f->ca_file = ca;
    return true;
}

int start_fetch(const struct config *c, char *why, size_t why_size)
{
    char ca[4096], agent[64];
    struct fetch_config f;
    if (fetch_settings(c, &f, ca, agent)) return fetch_setup(&f, why, why_size);
    snprintf(why, why_size, "outbound.ca_file: the path is too long");
    return -1;
}

void start_log(const struct config *c)
{
    sl_str l = c->log_level;
    int level = sl_is(l, "debug") ? SL_DEBUG : sl_is(l, "warn") ? SL_WARN : sl_is(l, "error") ? SL_ERROR : SL_INFO;
    log_setup(level, sl_is(c->log_format, "json") ? LOG_AS_JSON : LOG_AS_TEXT, STDERR_FILENO);
}

static void wipe_list(struct str_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        explicit_bzero((char *)(uintptr_t)list->item[i].p, list->item[i].n);
    list->n = 0;
}

void start_http(struct config *c)
{
    struct http_config http = http_settings(c);
    struct audit_config audit = audit_settings(c);
    audit_setup(&audit);
    http_setup(&http);
    wipe_list(&c->api_tokens);
    wipe_list(&c->admin_tokens);
    wipe_list(&c->users);
    explicit_bzero((char *)(uintptr_t)c->jwt_secret.p, c->jwt_secret.n);
    c->jwt_secret.n = 0;
}

size_t calls_at_once(const struct config *c) { return (size_t)(c->max_inflight + c->job_concurrency) + SPARE_CALLS; }

int floors_check(const struct config *next, char *why, size_t why_size)
{
    struct server_config server = server_settings(next);
    return server_reconfigure(&server, true, why, why_size);
}

int floors_apply(struct config *next, char *why, size_t why_size)
{
    char ca[4096], agent[64];
    struct fetch_config f;
    struct jobs_config jobs = jobs_settings(next);
    struct server_config server = server_settings(next);
    int result = server_reconfigure(&server, false, why, why_size);
    start_log(next);
    start_http(next);
    if (fetch_settings(next, &f, ca, agent) && fetch_reconfigure(&f, why, why_size)) result = -1;
    jobs_reconfigure(&jobs);
    call_limit(calls_at_once(next));
    return result;
}

int start_tracing(const struct config *c, char *why, size_t why_size)
{
    struct otlp_config t = {
        .endpoint = c->trace_endpoint,
        .headers = c->trace_headers,
        .service_name = c->trace_service,
        .queue = (size_t)c->trace_queue,
        .batch = (size_t)(c->trace_batch < c->trace_queue ? c->trace_batch : c->trace_queue),
        .interval_ms = (uint32_t)c->trace_interval_ms,
        .timeout_ms = (uint32_t)c->trace_timeout_ms,
    };
    if (!str_to_real(c->trace_ratio, &t.ratio)) t.ratio = 1;
    int bad = otlp_start(&t, why, why_size);
    explicit_bzero((char *)(uintptr_t)c->trace_headers.p, c->trace_headers.n);
    return bad;
}
