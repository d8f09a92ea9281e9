/* settings.c - the one table of settings: file keys, environment names, flags, defaults, limits and documentation. */
#include "config/settings.h"
#include "base/id.h"
#include "base/rate.h"
#include "base/scope.h"
#include <arpa/inet.h>
#include <stddef.h>
#include <unistd.h>

#define AT(field)  offsetof(struct loaded, field)
#define PUB(field) offsetof(struct loaded, pub.field)
#define SECOND     1000LL
#define MINUTE     (60 * SECOND)
#define HOUR       (60 * MINUTE)
#define DAY        (24 * HOUR)
#define KIB        1024LL
#define MIB        (1024 * KIB)
#define GIB        (1024 * MIB)

static bool is_port(sl_str s)
{
    int64_t port;
    return s.n > 0 && s.p[0] >= '0' && s.p[0] <= '9' && str_to_int(s, &port) && port <= 65535;
}

static const char *check_listen(sl_str s)
{
    static const char must[] = "must be HOST:PORT, [IPv6]:PORT, :PORT or unix:/path";
    if (str_starts(s, "unix:")) return s.n > 5 && s.n < 5 + 108 ? NULL : must;
    const char *colon = s.n ? memrchr(s.p, ':', s.n) : NULL;
    if (!colon) return must;
    sl_str host = str_sub(s, 0, (size_t)(colon - s.p)), port = str_sub(s, host.n + 1, s.n);
    bool bracketed = host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
    if (!bracketed && host.n && memchr(host.p, ':', host.n)) return must;
    return is_port(port) ? NULL : must;
}

static const char *check_cidr(sl_str s)
{
    static const char must[] = "must be an IP address or a block such as 10.0.0.0/8";
    char text[INET6_ADDRSTRLEN];
    unsigned char bytes[16];
    const char *slash = s.n ? memchr(s.p, '/', s.n) : NULL;
    sl_str address = str_sub(s, 0, slash ? (size_t)(slash - s.p) : s.n);
    if (address.n == 0 || address.n >= sizeof text || memchr(address.p, 0, address.n)) return must;
    memcpy(text, address.p, address.n);
    text[address.n] = 0;
    bool v6 = strchr(text, ':') != NULL;
    if (inet_pton(v6 ? AF_INET6 : AF_INET, text, bytes) != 1) return must;
    int64_t bits = 0;
    if (slash && (!str_to_int(str_sub(s, address.n + 1, s.n), &bits) || bits < 0 || bits > (v6 ? 128 : 32)))
        return must;
    return NULL;
}

static const char *check_dsn(sl_str s)
{
    if (s.n == 0 || str_starts(s, "postgres://") || str_starts(s, "postgresql://")) return NULL;
    if (str_starts(s, "sqlite:") && s.n > 7) return NULL;
    return "must be sqlite:PATH or postgres://..., or be empty for the memory store";
}

static const char *check_readable(sl_str s)
{
    char path[4096];
    if (s.n == 0) return NULL;
    if (s.n >= sizeof path) return "must name a file that can be read";
    memcpy(path, s.p, s.n);
    path[s.n] = 0;
    return access(path, R_OK) == 0 ? NULL : "must name a file that can be read";
}

static const char *check_token(sl_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || (unsigned char)s.p[i] >= 127)
            return "must be printable ASCII without blanks";
    return NULL;
}

static const char *check_origin(sl_str s)
{
    static const char must[] = "must be * or an origin such as https://app.example.com";
    if (sl_is(s, "*")) return NULL;
    const char *host = s.n ? memmem(s.p, s.n, "://", 3) : NULL;
    if (!host || host == s.p) return must;
    size_t from = (size_t)(host - s.p) + 3;
    return from < s.n && !memchr(s.p + from, '/', s.n - from) ? NULL : must;
}

static const char *check_key(sl_str s)
{
    unsigned char key[32];
    return bytes_decode(s, key, sizeof key) ? NULL : "must be 32 bytes as 64 hex digits or as base64";
}

static const char *check_rate(sl_str s)
{
    struct rate r;
    return rate_parse(s, &r);
}

static const char *check_tenant_rate(sl_str s)
{
    sl_str name;
    if (!str_split(&s, ' ', &name) || tenant_check(name) || str_trim(s).n == 0)
        return "must be a tenant and its rate, such as `acme 500/s burst 1000`";
    return check_rate(s);
}

static const char *check_name(sl_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f) return "must be one line of text";
    return s.n > 0 && s.n <= 200 && str_is_utf8(s) ? NULL : "must be 1 to 200 bytes of text";
}

static const char *check_tenant_or_none(sl_str s) { return s.n ? tenant_check(s) : NULL; }

static const char *check_provider_role(sl_str s)
{
    sl_str from, to;
    return next_word(&s, &from) && next_word(&s, &to) && !next_word(&s, &from) ? NULL : "must be `CLAIM ROLE`";
}

static const char *check_collector(sl_str s)
{
    bool scheme = str_starts(s, "http://") || str_starts(s, "https://");
    return s.n == 0 || (scheme && s.n > 8 && s.n < 2000) ? NULL : "must be an http or https URL";
}

static const char *check_ratio(sl_str s)
{
    double v;
    return str_to_real(s, &v) && v >= 0 && v <= 1 ? NULL : "must be a number from 0 to 1, such as 0.1";
}

static const char *check_directory(sl_str s) { return s.n < 4096 ? NULL : "must be shorter than 4096 bytes"; }

const struct setting settings[] = {
    { "server.host", SET_TEXT, AT(host), "0.0.0.0", .doc = "Address to listen on; `listen` wins." },
    { "server.port", SET_INT, AT(port), "8080", .min = 0, .max = 65535,
      .doc = "TCP port to listen on; 0 = any free one." },
    { "server.listen", SET_LIST, PUB(listen), "", "LISTEN_ADDR", "addr", .check = check_listen,
      .doc = "Listeners: `HOST:PORT`, `[::1]:8080`, `:8080` (all addresses), `unix:/path`. Empty: `host` and `port`." },
    { "server.tls.cert", SET_TEXT, PUB(tls_cert), "", "TLS_CERT_FILE", .check = check_readable,
      .doc = "PEM file with the certificate chain; turns TLS on together with `key`. Read again on SIGHUP." },
    { "server.tls.key", SET_TEXT, PUB(tls_key), "", "TLS_KEY_FILE", .check = check_readable,
      .doc = "PEM file with the private key." },
    { "server.trusted_proxies", SET_LIST, PUB(trusted_proxies), "", "TRUSTED_PROXIES", .check = check_cidr,
      .doc = "Addresses and blocks whose `X-Forwarded-*` headers are believed." },
    { "server.cors_origins", SET_LIST, PUB(cors_origins), "", "CORS_ORIGINS", .check = check_origin,
      .doc = "Origins that browsers may call from; empty = CORS is off." },
    { "server.max_connections", SET_INT, PUB(max_connections), "10000", .min = 1, .max = 1000000,
      .doc = "Open client connections; more are refused." },
    { "server.max_header_bytes", SET_SIZE, PUB(max_header_bytes), "32KiB", .min = KIB, .max = MIB,
      .doc = "Request line and header fields together; beyond: 431." },
    { "server.max_headers", SET_INT, PUB(max_headers), "100", .min = 1, .max = 1000,
      .doc = "Header fields of a request; beyond: 431." },
    { "server.max_body", SET_SIZE, PUB(max_body), "1MiB", .min = KIB, .max = GIB, .doc = "Request body; beyond: 413." },
    { "server.max_inflight", SET_INT, PUB(max_inflight), "4096", .min = 1, .max = 100000,
      .doc = "Requests in work at once; more are answered 503." },
    { "server.timeouts.header", SET_DURATION, PUB(header_ms), "10s", .min = 100, .max = HOUR,
      .doc = "For the whole head of a request, from its first byte (TLS handshake included)." },
    { "server.timeouts.body", SET_DURATION, PUB(body_ms), "30s", .min = 100, .max = DAY,
      .doc = "For the whole body of a request." },
    { "server.timeouts.idle", SET_DURATION, PUB(idle_ms), "60s", .min = 100, .max = DAY,
      .doc = "Between requests of a kept connection." },
    { "server.timeouts.write", SET_DURATION, PUB(write_ms), "30s", .min = 100, .max = DAY,
      .doc = "Without progress while an answer is sent." },
    { "server.timeouts.request", SET_DURATION, PUB(deadline_ms), "15s", .min = 10, .max = HOUR,
      .doc = "Deadline of a handler whose route states none; beyond: 504." },
    { "server.timeouts.drain", SET_DURATION, PUB(drain_ms), "10s", .min = 0, .max = HOUR,
      .doc = "For requests in work when the server stops." },
    { "server.body_min_rate", SET_SIZE, PUB(body_min_rate), "256", .min = 0, .max = GIB,
      .doc = "Bytes a second that a request body must reach on average; 0 = any." },
    { "server.reuse_port", SET_BOOL, PUB(reuse_port), "false",
      .doc = "Share the port with other replicas on this machine (`SO_REUSEPORT`)." },
    { "server.require_tenant_header", SET_BOOL, PUB(require_tenant), "false", "REQUIRE_TENANT_HEADER",
      .doc = "Refuse requests without `X-Tenant-ID` instead of using `default_tenant`." },
    { "server.check_answers", SET_BOOL, PUB(check_answers), "false",
      .doc = "For development: an answer that does not fit its route's `out` becomes 500, and the log says where." },
    { "server.default_tenant", SET_TEXT, PUB(default_tenant), "default", "DEFAULT_TENANT", .check = tenant_check,
      .doc = "Tenant of requests without `X-Tenant-ID`." },
    { "server.page_default", SET_INT, PUB(page_default), "25", .min = 1, .max = 10000,
      .doc = "Items of a list without `limit`." },
    { "server.page_max", SET_INT, PUB(page_max), "500", .min = 1, .max = 10000, .doc = "Largest `limit` of a list." },
    { "server.idempotency_retention", SET_DURATION, PUB(idempotency_ms), "24h", .min = MINUTE, .max = 30 * DAY,
      .doc = "How long an `Idempotency-Key` is remembered." },

    { "limits.token", SET_TEXT, PUB(token_rate), "", .check = check_rate,
      .doc = "Rate of one token or user, such as `50/s`, `600/m` or `50/s burst 200`; beyond: 429. Empty = no limit." },
    { "limits.address", SET_TEXT, PUB(address_rate), "100/s burst 500", .check = check_rate,
      .doc = "Rate of one address without a valid token, health routes not counted; 0 = no limit." },
    { "limits.tenant", SET_TEXT, PUB(tenant_rate), "", .check = check_rate,
      .doc = "Rate of all callers of one tenant together; empty = no limit." },
    { "limits.tenants", SET_LIST, PUB(tenant_rates), "", .check = check_tenant_rate,
      .doc = "Rates of single tenants in place of `tenant`, each `TENANT RATE`, such as `acme 500/s burst 1000`." },
    { "limits.tenant_inflight", SET_INT, PUB(tenant_inflight), "0", .min = 0, .max = 100000,
      .doc = "Requests of one tenant in work at once in this process; beyond: 429. 0 = only `server.max_inflight`." },
    { "limits.tenant_daily", SET_INT, PUB(tenant_daily), "0", .min = 0, .max = 1000000000000,
      .doc = "Requests of one tenant in a UTC day, over all replicas; beyond: 429. 0 = no limit." },
    { "limits.waiting", SET_INT, PUB(max_waiting), "2000", .min = 0, .max = 1000000,
      .doc = "Calls in line for the store, beyond which new requests get 503 at once; 0 = no limit." },

    { "database.dsn", SET_TEXT, PUB(dsn), "", "DATABASE_URL", "dsn", .check = check_dsn, .secret = true,
      .doc =
          "`sqlite:PATH` or `postgres://...`; empty = memory, lost at exit, unless the parts below name a database." },
    { "database.host", SET_TEXT, AT(db_host), "",
      .doc = "PostgreSQL server (or socket directory) when no `dsn` is given." },
    { "database.port", SET_INT, AT(db_port), "5432", .min = 1, .max = 65535, .doc = "Its port." },
    { "database.user", SET_TEXT, AT(db_user), "", .doc = "Role to log in as." },
    { "database.password", SET_TEXT, AT(db_password), "", .secret = true, .doc = "Its password." },
    { "database.name", SET_TEXT, AT(db_name), "", .doc = "Database on that server." },
    { "database.sslmode", SET_CHOICE, AT(db_sslmode), "",
      .choices = "disable|allow|prefer|require|verify-ca|verify-full",
      .doc = "TLS to PostgreSQL, as in libpq; empty = libpq's own default." },
    { "database.max_open_conns", SET_INT, PUB(max_open_conns), "10", .min = 1, .max = 1000,
      .doc = "PostgreSQL connections at most." },
    { "database.max_idle_conns", SET_INT, PUB(max_idle_conns), "5", .min = 0, .max = 1000,
      .doc = "Of these, kept open while idle; never more than `max_open_conns`." },
    { "database.conn_max_lifetime", SET_DURATION, PUB(conn_max_lifetime_ms), "5m", .min = 0, .max = 7 * DAY,
      .doc = "Age at which a connection is replaced; 0 = never." },
    { "database.connect_timeout", SET_DURATION, PUB(connect_ms), "5s", .min = 100, .max = 10 * MINUTE,
      .doc = "For reaching the database before a request is answered 503." },
    { "database.max_rows", SET_INT, PUB(max_rows), "10000", .min = 1, .max = 10000000, .doc = "Rows of one result." },
    { "database.max_result_bytes", SET_SIZE, PUB(max_result_bytes), "16MiB", .min = 64 * KIB, .max = GIB,
      .doc = "Bytes of one result." },
    { "database.migrate_on_start", SET_BOOL, PUB(migrate), "true", NULL, "migrate",
      .doc = "Apply pending migrations at the start; otherwise pending ones are an error." },

    { "logging.level", SET_CHOICE, PUB(log_level), "info", "LOG_LEVEL", "log-level", .choices = "debug|info|warn|error",
      .doc = "Least level that is logged." },
    { "logging.format", SET_CHOICE, PUB(log_format), "text", "LOG_FORMAT", .choices = "text|json",
      .doc = "Form of log lines." },
    { "metrics.token", SET_TEXT, PUB(metrics_token), "", .check = check_token, .secret = true,
      .doc = "Bearer token that `/metrics` asks for; empty = open." },

    { "tracing.endpoint", SET_TEXT, PUB(trace_endpoint), "", "OTEL_EXPORTER_OTLP_ENDPOINT", .check = check_collector,
      .doc =
          "Collector that spans are sent to by OTLP over HTTP, such as `http://localhost:4318`; empty = no tracing." },
    { "tracing.headers", SET_TEXT, PUB(trace_headers), "", "OTEL_EXPORTER_OTLP_HEADERS", .secret = true,
      .doc = "Headers for the collector: `name=value` pairs with commas, values percent-encoded." },
    { "tracing.service_name", SET_TEXT, PUB(trace_service), "service-layer", "OTEL_SERVICE_NAME",
      .doc = "Name of this service in traces." },
    { "tracing.sample_ratio", SET_TEXT, PUB(trace_ratio), "1", "OTEL_TRACES_SAMPLER_ARG", .check = check_ratio,
      .doc = "Part of the traces beginning here that is recorded, 0 to 1; for others the caller's `traceparent` says "
             "it." },
    { "tracing.queue", SET_INT, PUB(trace_queue), "8192", .min = 64, .max = 1000000,
      .doc = "Spans that may wait for the collector; more are dropped and counted." },
    { "tracing.batch", SET_INT, PUB(trace_batch), "512", .min = 1, .max = 1000000,
      .doc = "So many waiting spans are sent at once, without waiting for `interval`." },
    { "tracing.interval", SET_DURATION, PUB(trace_interval_ms), "1s", .min = 10, .max = HOUR,
      .doc = "How often waiting spans are sent." },
    { "tracing.timeout", SET_DURATION, PUB(trace_timeout_ms), "10s", .min = 10, .max = HOUR,
      .doc = "For the collector to take a batch." },

    { "debug.heap_period", SET_SIZE, PUB(heap_period), "2MiB", .min = 0, .max = GIB,
      .doc = "One allocation each so many bytes is remembered for `GET /debug/pprof/heap`; 0 = none." },

    { "auth.tokens", SET_LIST, PUB(api_tokens), "", "API_TOKENS API_TOKEN", "api-tokens", .check = check_token,
      .secret = true, .doc = "Bearer tokens of services: every tenant, no administration." },
    { "auth.admin_tokens", SET_LIST, PUB(admin_tokens), "", "ADMIN_TOKENS ADMIN_TOKEN", .check = check_token,
      .secret = true, .doc = "Bearer tokens of administrators." },
    { "auth.roles", SET_LIST, PUB(roles), "", .check = role_check,
      .doc = "Roles, each `NAME SCOPE SCOPE`, such as `auditor *:read admin:audit`; beside or in place of the built-in "
             "`service`, `user` and `reader`." },
    { "auth.users", SET_LIST, PUB(users), "", .check = user_check, .secret = true,
      .doc = "Users who may sign in, each `NAME:BCRYPT:ROLE` or `NAME:BCRYPT:ROLE:TENANT|TENANT`; without tenants "
             "`server.default_tenant`, `*` = every one." },
    { "auth.jwt_secret", SET_TEXT, PUB(jwt_secret), "", .secret = true,
      .doc = "Signs the tokens of those who sign in (HS256); at least 32 bytes, the same in all replicas." },
    { "auth.issuer", SET_TEXT, PUB(issuer), "service-layer", .check = check_name,
      .doc = "Who the tokens and the challenges for wallets say that they come from." },
    { "auth.token_life", SET_DURATION, PUB(access_ms), "15m", .min = 10 * SECOND, .max = DAY,
      .doc = "How long the token of a sign-in is good." },
    { "auth.refresh_life", SET_DURATION, PUB(refresh_ms), "168h", .min = MINUTE, .max = 365 * DAY,
      .doc = "How long a session may go without a refresh." },
    { "auth.wallet.enabled", SET_BOOL, PUB(wallets), "false", .doc = "Let the holders of Neo N3 accounts sign in." },
    { "auth.wallet.role", SET_TEXT, PUB(wallet_role), "user", .doc = "Their role." },
    { "auth.wallet.tenant", SET_TEXT, PUB(wallet_tenant), "", .check = check_tenant_or_none,
      .doc = "Their tenant; empty = each is a tenant of its own, named by its address." },
    { "auth.provider.keys", SET_TEXT, PUB(provider_keys), "", .check = check_readable,
      .doc = "File with the public keys of an outside identity provider, JWKS or PEM; its tokens (RS256, ES256) are "
             "accepted." },
    { "auth.provider.issuer", SET_TEXT, PUB(provider_issuer), "",
      .doc = "What `iss` of its tokens must be; empty = anything." },
    { "auth.provider.audience", SET_TEXT, PUB(audience), "",
      .doc = "What `aud` of its tokens must be or hold; empty = anything." },
    { "auth.provider.role_claim", SET_TEXT, PUB(role_claim), "role",
      .doc = "The claim with the role, or a list of which the first that means something counts; dots lead into "
             "objects." },
    { "auth.provider.roles", SET_LIST, PUB(provider_roles), "", .check = check_provider_role,
      .doc = "What its roles are here, each `CLAIM ROLE`; empty = roles of the same name, but never `admin`." },
    { "auth.provider.role", SET_TEXT, PUB(provider_role), "user", .doc = "Role of tokens that name none of these." },
    { "auth.provider.tenant_claim", SET_TEXT, PUB(tenant_claim), "tenant",
      .doc = "The claim with the tenant or a list of them." },
    { "auth.provider.tenant", SET_TEXT, PUB(provider_tenant), "", .check = check_tenant_or_none,
      .doc = "Tenant of tokens that name none; empty = they may act for nobody." },
    { "auth.provider.leeway", SET_DURATION, PUB(leeway_ms), "30s", .min = 0, .max = 10 * MINUTE,
      .doc = "How far its clock may be off." },
    { "security.secret_encryption_key", SET_TEXT, PUB(secret_keys), "", "SECRET_ENCRYPTION_KEY", .secret = true,
      .doc = "Master key of 16, 24 or 32 bytes, raw, base64 or hex; several with commas: the first seals, all unseal. "
             "Mandatory with a durable store." },

    { "audit.enabled", SET_BOOL, PUB(audit), "true",
      .doc = "Record every changing and every refused call in the store; see docs/security.md." },
    { "audit.file", SET_TEXT, PUB(audit_file), "", "AUDIT_LOG_PATH", .check = check_directory,
      .doc = "File that gets each record as a JSON line, too. Calls that cannot be recorded in it are refused." },
    { "audit.file_max", SET_SIZE, PUB(audit_file_max), "100MiB", .min = 64 * KIB, .max = 64 * GIB,
      .doc = "Size at which the file becomes `FILE.1` and a new one is begun." },
    { "audit.file_keep", SET_INT, PUB(audit_file_keep), "10", .min = 1, .max = 1000,
      .doc = "Such older files that are kept." },
    { "audit.refusals", SET_INT, PUB(audit_refusals), "50", .min = 1, .max = 500,
      .doc = "Refused calls of one caller that get a record each in ten seconds; more are counted in one." },
    { "audit.keep_days", SET_INT, PUB(audit_keep_days), "365", .min = 0, .max = 36500,
      .doc = "Age at which records leave the store; 0 = never. Files are not affected." },

    { "modules.dirs", SET_LIST, PUB(plugin_dirs), "", "PLUGIN_DIRS", .check = check_directory,
      .doc = "Directories searched for plugins; empty = the ones that came with the executable." },
    { "modules.migration_dirs", SET_LIST, PUB(migration_dirs), "", "MIGRATION_DIRS", .check = check_directory,
      .doc = "Directories that hold `MODULE/NNNN_what.sql`; empty = the one that came with the executable." },
    { "modules.slow_ms", SET_DURATION, PUB(slow_ms), "100", "MODULE_SLOW_MS", "slow-ms", .min = 0, .max = HOUR,
      .doc = "A handler that holds the loop this long without waiting is named in the log; 0 = no watchdog." },
    { "modules.slow_module_ms", SET_DURATION, PUB(slow_module_ms), "1000", "MODULE_SLOW_THRESHOLD_MS", .min = 0,
      .max = HOUR, .doc = "A plugin whose start or stop takes longer is shown as slow." },
    { "modules.drain", SET_DURATION, PUB(module_drain_ms), "20s", .min = 0, .max = HOUR,
      .doc = "Calls of a replaced or disabled plugin may run on this long before they are cancelled." },
    { "modules.hold", SET_DURATION, PUB(module_hold_ms), "5s", .min = 10, .max = 10 * MINUTE,
      .doc =
          "A hand-over of state: for the old calls to end, and for `save` and `load` each. New calls wait meanwhile." },
    { "modules.hold_queue", SET_INT, PUB(hold_queue), "10000", .min = 0, .max = 1000000,
      .doc = "Calls that may wait for a hand-over; more are answered 503." },
    { "modules.rollback_window", SET_DURATION, PUB(rollback_ms), "60s", .min = 0, .max = DAY,
      .doc = "A replaced plugin is kept warm this long and serves again when the new one turns bad; 0 = never." },
    { "modules.parked_max", SET_INT, PUB(parked_max), "4", .min = 0, .max = 1000,
      .doc = "Old copies of a plugin that could not be unloaded, after which it is not reloaded any more." },
    { "modules.watch", SET_BOOL, PUB(watch), "false",
      .doc = "Load new and changed files of `dirs` by itself, once they are quiet for 500 ms." },
    { "modules.findings", SET_LIST, PUB(findings), "", .check = config_check_finding,
      .doc = "What to do about a finding on a plugin's file, as CLASS=allow, pin, isolate or refuse; see loading.md." },
    { "modules.trusted_keys", SET_LIST, PUB(trusted_keys), "", .check = check_key,
      .doc = "Ed25519 public keys, hex or base64, whose signature FILE.so.sig makes a plugin trusted." },
    { "modules.signature_policy", SET_CHOICE, PUB(signature_policy), "warn", .choices = "off|warn|refuse",
      .doc = "Plugins without a signature of a trusted key, once there are any." },

    { "modules.isolation", SET_CHOICE, PUB(isolation), "auto", .choices = "auto|none|process",
      .doc = "Where a plugin runs that does not say: `none` = in the server itself, `process` = in a child process of "
             "its own; "
             "`auto` = "
             "`none` for those that came with the executable, else `process`." },
    { "modules.process_memory", SET_SIZE, PUB(process_memory), "512MiB", .min = 32 * MIB, .max = 1024 * GIB,
      .doc = "Memory of a plugin in a child process (`isolation: process`); beyond, its allocations fail." },
    { "modules.process_cpu", SET_INT, PUB(process_cpu), "0", .min = 0, .max = 100000,
      .doc = "Processor time of a plugin in a child process, in percent of one core over 5 s; beyond, it is ended and "
             "started again. 0 = no limit." },

    { "jobs.concurrency", SET_INT, PUB(job_concurrency), "32", .min = 0, .max = 10000,
      .doc = "Jobs that this process runs at once; 0 = none." },
    { "jobs.lease", SET_DURATION, PUB(job_lease_ms), "6s", .min = SECOND, .max = HOUR,
      .doc = "A killed replica's jobs move to another after this time." },
    { "jobs.poll_interval", SET_DURATION, PUB(job_poll_ms), "1s", .min = 10, .max = HOUR,
      .doc = "How often an idle replica looks for jobs that others enqueued." },
    { "jobs.deadline", SET_DURATION, PUB(job_deadline_ms), "30s", .min = 10, .max = DAY,
      .doc = "Deadline of an attempt when its kind states none." },
    { "jobs.attempts", SET_INT, PUB(job_attempts), "5", .min = 1, .max = 1000,
      .doc = "Attempts of a job when its kind states none." },
    { "jobs.backoff", SET_DURATION, PUB(job_backoff_ms), "1s", .min = 10, .max = DAY,
      .doc = "Delay before the first repetition; doubles, with jitter." },
    { "jobs.backoff_max", SET_DURATION, PUB(job_backoff_max_ms), "10m", .min = 10, .max = 7 * DAY,
      .doc = "Longest such delay." },
    { "jobs.history_retention", SET_DURATION, PUB(job_history_ms), "168h", .min = MINUTE, .max = 3650 * DAY,
      .doc = "How long the history of finished jobs is kept." },

    { "bus.retention", SET_DURATION, PUB(bus_retention_ms), "168h", .min = MINUTE, .max = 3650 * DAY,
      .doc = "How long events are kept, for lists and for streams that resume." },
    { "bus.max_streams", SET_INT, PUB(bus_max_streams), "100", .min = 0, .max = 100000,
      .doc = "Streams of events (`GET /system/events`) open at once in this process; beyond: 429." },
    { "bus.heartbeat", SET_DURATION, PUB(bus_heartbeat_ms), "15s", .min = SECOND, .max = HOUR,
      .doc = "A comment is sent on a stream after so long without an event, so that proxies keep it open." },

    { "outbound.allow_private", SET_BOOL, PUB(outbound_allow_private), "false",
      .doc = "Let plugins fetch from private and special addresses (development)." },
    { "outbound.allow", SET_LIST, PUB(outbound_allow), "", .check = check_cidr,
      .doc = "Private addresses and blocks that plugins may fetch from all the same." },
    { "outbound.max_total", SET_INT, PUB(outbound_max_total), "256", .min = 1, .max = 10000,
      .doc = "Outbound requests at once; more wait inside their deadline." },
    { "outbound.max_per_host", SET_INT, PUB(outbound_max_per_host), "16", .min = 1, .max = 10000,
      .doc = "Of these, to one host." },
    { "outbound.timeout", SET_DURATION, PUB(outbound_timeout_ms), "10s", .min = 10, .max = HOUR,
      .doc = "For an outbound request that has no deadline of its own." },
    { "outbound.max_bytes", SET_SIZE, PUB(outbound_max_bytes), "4MiB", .min = KIB, .max = GIB,
      .doc = "Decoded bytes of an answer, default and ceiling." },
    { "outbound.ca_file", SET_TEXT, PUB(outbound_ca_file), "", .check = check_readable,
      .doc = "PEM file of certificate authorities to trust instead of the system's." },
};
const size_t n_settings = sizeof settings / sizeof *settings;
_Static_assert(sizeof settings / sizeof *settings <= SETTINGS_ROOM, "SETTINGS_ROOM is too small");

const struct command commands[] = {
    { "migrate-only", PUB(migrate_only), "Apply pending migrations and exit." },
    { "check", PUB(check), "Check the configuration, print every error, and exit." },
    { "print-config", PUB(print), "Print the effective configuration with the source of each value, and exit." },
    { "version", PUB(show_version), "Print the version and exit." },
    { "hash-password", PUB(hash_password),
      "Read a password from standard input, print its hash for auth.users, and exit." },
    { "help", PUB(show_help), "Print this help and exit." },
    { "h", PUB(show_help), NULL },
};
const size_t n_commands = sizeof commands / sizeof *commands;
