/* config.h - the configuration: file (YAML or JSON), environment and flags into one checked structure. */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H
#include "base/json.h"

/* What to do about a finding on a plugin's file. */
enum finding_policy { FINDING_ALLOW, FINDING_PIN, FINDING_ISOLATE, FINDING_REFUSE };
const char *finding_policy_name(enum finding_policy p);

struct str_list {
    sl_str *item;
    size_t n;
};
/* isolation: "none" (in this process), "process" (a child) or NULL: as is usual for where its file lies. config: as the
 * file has it, NULL = none. lines: key -> line in the file. */
struct plugin_config {
    char *name;
    bool enabled, required;
    char *isolation, *grants; /* grants: the most that it may ask for; NULL = whatever it asks for */
    struct str_list findings; /* "threads=refuse": policies of its own, over modules.findings */
    json_t *config;
    int line;
    struct plugin_config *next;
    json_t *lines, *section; /* section: all that the file says of it, to compare */
};
struct config {
    arena *arena; /* owns all text here */
    sl_str file;  /* "" = none was read */
    /* server */
    struct str_list listen, trusted_proxies, cors_origins;
    sl_str tls_cert, tls_key;
    int64_t max_connections, max_header_bytes, max_headers, max_body, max_inflight;
    int64_t header_ms, body_ms, idle_ms, write_ms, deadline_ms, drain_ms, body_min_rate;
    sl_str token_rate, address_rate, tenant_rate;
    struct str_list tenant_rates;
    int64_t tenant_inflight, tenant_daily, max_waiting;
    bool reuse_port, require_tenant, check_answers;
    sl_str default_tenant;
    int64_t page_default, page_max, idempotency_ms;
    /* database */
    sl_str dsn;
    int64_t max_open_conns, max_idle_conns, conn_max_lifetime_ms, connect_ms, max_rows, max_result_bytes;
    bool migrate;
    /* logging, metrics */
    sl_str log_level, log_format, metrics_token;
    /* auth, security */
    struct str_list api_tokens, admin_tokens, roles, users, provider_roles;
    sl_str jwt_secret, issuer, wallet_role, wallet_tenant;
    int64_t access_ms, refresh_ms, leeway_ms;
    bool wallets;
    sl_str provider_keys, provider_issuer, audience, role_claim, tenant_claim, provider_role, provider_tenant;
    sl_str secret_keys;
    /* audit */
    bool audit;
    sl_str audit_file;
    int64_t audit_file_max, audit_file_keep, audit_refusals, audit_keep_days;
    /* modules */
    struct str_list plugin_dirs, migration_dirs;
    int64_t slow_ms, slow_module_ms, module_drain_ms, module_hold_ms, hold_queue, rollback_ms, parked_max;
    bool watch;
    struct str_list findings, trusted_keys; /* "threads=refuse"; Ed25519 public keys as hex or base64 */
    sl_str signature_policy;
    sl_str check_plugin, check_format; /* a file that the command line asks about; "text" or "json" */
    sl_str isolation;                  /* of plugins that do not say */
    int64_t process_memory, process_cpu;
    struct plugin_config *plugins; /* as configured, in file order */
    /* jobs, bus, outbound */
    int64_t job_concurrency, job_lease_ms, job_poll_ms, job_deadline_ms, job_attempts, job_backoff_ms,
        job_backoff_max_ms, job_history_ms;
    int64_t heap_period;
    sl_str trace_endpoint, trace_headers, trace_service, trace_ratio;
    int64_t trace_queue, trace_batch, trace_interval_ms, trace_timeout_ms;
    int64_t bus_retention_ms, bus_max_streams, bus_heartbeat_ms;
    bool outbound_allow_private;
    struct str_list outbound_allow;
    int64_t outbound_max_total, outbound_max_per_host, outbound_timeout_ms, outbound_max_bytes;
    sl_str outbound_ca_file;
    /* what the command line asks for */
    bool check, print, migrate_only, show_version, show_help, hash_password;
};

/* Everything wrong is gathered, one line each ("configs/config.yaml:12: server.prot: unknown key, did you mean
 * `port`?"); the result is NULL then, but
 * for -check, which goes on to what the plugins say. argv flags win over the environment, that over the file, that over
 * defaults. */
struct config *config_load(int argc, char **argv, char **env, buf *errors);
/* What to do about a finding of this class on this plugin's file, as its own rules, modules.findings or the usual say.
 * Any thread. */
enum finding_policy config_finding_policy(const struct config *cfg, const char *plugin, const char *class);
/* The configuration of one plugin against its schema: defaults, then file, then the environment variables that fields
 * name with "x-env" (and NAME_FILE). The result is owned by the caller; NULL: errors got lines with file and line. */
json_t *config_for_plugin(const struct config *cfg, const char *plugin, const json_t *schema, char **env, buf *errors);
/* The line of the file that sets `key` of a plugin's config (the plugin's own line for NULL), for messages; 0 = not in
 * it. */
int config_plugin_line(const struct config *cfg, const char *plugin, const char *key);
/* The effective configuration as one YAML document for -print-config, each value with its source, secrets as "***". It
 * ends in the `plugins` section with those that are switched off; config_print_plugin adds one that is on, its config
 * by its schema. */
void config_print(const struct config *cfg, buf *out);
void config_print_plugin(const struct config *cfg, const char *plugin, bool isolated, const json_t *schema,
                         const json_t *config, buf *out);
/* The same for a program: settings as JSON objects with commas between, {"path", "value", "origin", "live"}; and the
 * rest of a plugin's object: "line" (0 = not in the file) and "config". */
void config_write(const struct config *cfg, buf *out);
void config_write_plugin(const struct config *cfg, const char *plugin, const json_t *schema, const json_t *config,
                         buf *out);
/* ---- change.c: a configuration beside the one in force ---- */
enum { CONFIG_DIFF_MAX = 160, CONFIG_TAG = 33 };
struct config_diff { /* paths of settings that differ: those that a reload applies, those that need a restart */
    const char *live[CONFIG_DIFF_MAX], *restart[CONFIG_DIFF_MAX];
    size_t n_live, n_restart;
};
void config_diff(const struct config *now, const struct config *next, struct config_diff *out);
/* Settings that are read at the start only keep in `next` the values they have in `now`. */
void config_keep(const struct config *now, struct config *next);
/* Text that differs when anything that is in force does, also a secret. Of this process: another's cannot be compared.
 */
void config_tag(const struct config *cfg, char out[CONFIG_TAG]);
void config_usage(buf *out);          /* flags and environment variables */
void config_free(struct config *cfg); /* wipes secrets */
#endif
