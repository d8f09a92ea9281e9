/* main.c - the appserver: arguments and configuration, start from the store up to the listener, signals, stop. */
#include "api/floors.h"
#include "api/config_reload.h"
#include "audit/audit.h"
#include "base/clock.h"
#include "base/log.h"
#include "bus/bus.h"
#include "bus/follow.h"
#include "jobs/jobs.h"
#include "net/fetch.h"
#include "net/server.h"
#include "observe/heap.h"
#include "observe/metrics.h"
#include "store/store.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    EXIT_FINE = 0,
    EXIT_RUNTIME = 1,
    EXIT_CONFIG = 2,
    ERRORS_MAX = 1 << 20,
    SWEEP_MS = 60000,
    USAGE_MS = 2000, /* how far the replicas' counts of a tenant's requests may lie apart */
    WAIT_MS = 10,
    WATCHDOG_MAX_MS = 60000,
    DESCRIPTORS_MAX = 1 << 20,
    SPARE_DESCRIPTORS = 128, /* store, outbound requests, children, files */
    LAST_MS = 2000
};
enum stage { NOTHING, STORE_OPEN, JOBS_ON, MODULES_ON, SERVING };

static struct {
    struct config *cfg; /* the one in force */
    int argc;
    char **argv; /* read again by a reload of the configuration */
    keyring *keys;
    enum stage stage;
    int64_t began; /* clock_monotonic() at the start */
    int exit_code;
    call *booting; /* the boot fiber while it runs */
    bool stopping; /* a signal asked for the end */
    uv_signal_t signals[3];
    ticker *sweeper, *usage, *watchdog;
} host;

/* ---- the service manager: systemd's notify protocol, sd_notify(3) ---- */
static void notify(const char *what)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    if (!path || !(path[0] == '/' || path[0] == '@') || strlen(path) >= sizeof to.sun_path) return;
    memcpy(to.sun_path, path, strlen(path));
    if (to.sun_path[0] == '@') to.sun_path[0] = 0;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return;
    if (sendto(fd, what, strlen(what), MSG_NOSIGNAL, (struct sockaddr *)&to,
               (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path))) < 0)
        log_warn("the service manager was not told", LOG_C("state", what), LOG_C("error", strerror(errno)));
    close(fd);
}

static void still_turning(call *c, void *arg)
{
    (void)c, (void)arg;
    notify("WATCHDOG=1");
}

/* Twice in the time after which the manager takes a silent service for stuck (WatchdogSec): sd_watchdog_enabled(3). */
static void start_watchdog(void)
{
    const char *time = getenv("WATCHDOG_USEC"), *whose = getenv("WATCHDOG_PID");
    int64_t us, pid;
    if (!time || !str_to_int(sl_cstr(time), &us) || us < 2000) return;
    if (whose && (!str_to_int(sl_cstr(whose), &pid) || pid != getpid())) return;
    us /= 2000;
    host.watchdog = ticker_start("watchdog", us < WATCHDOG_MAX_MS ? (uint32_t)us : WATCHDOG_MAX_MS, still_turning,
                                 NULL);
}

static const struct module_hooks hooks = {
    .reply_row = http_reply_row,
    .reply_list = http_reply_list,
    .row_tag = http_row_tag,
    .reply_tag = http_reply_tag,
    .rebuilt = http_rebuild_routes,
};

/* ---- stop ---- */
static void wait_for_connections(call *c, uint32_t ms)
{
    int64_t until = clock_monotonic() + (int64_t)ms * 1000000;
    while (server_connections() > 0 && clock_monotonic() < until)
        call_sleep(c, WAIT_MS);
    if (server_connections() > 0)
        log_warn("connections cut at the end of the drain", LOG_I("connections", (int64_t)server_connections()));
}

static uint32_t left_of(int64_t began, int64_t ms)
{
    int64_t left = ms - (clock_monotonic() - began) / 1000000;
    return left > 0 ? (uint32_t)left : 0;
}

static void close_signals(void)
{
    for (size_t i = 0; i < sizeof host.signals / sizeof *host.signals; i++)
        if (host.signals[i].loop && !uv_is_closing((uv_handle_t *)&host.signals[i]))
            uv_close((uv_handle_t *)&host.signals[i], NULL);
}

/* From the door inwards: nobody comes in, who is inside is served, then each floor ends before the one it stands on. */
static void stop(call *c)
{
    int64_t began = clock_monotonic();
    system_state_set(SYSTEM_STOPPING);
    notify("STOPPING=1");
    if (host.stage >= SERVING) {
        log_info("stopping", LOG_I("connections", (int64_t)server_connections()),
                 LOG_I("drain_ms", host.cfg->drain_ms));
        server_drain();
        follow_end();
        wait_for_connections(c, (uint32_t)host.cfg->drain_ms);
        server_close();
    }
    if (host.sweeper) ticker_stop(host.sweeper);
    host.sweeper = NULL;
    if (host.usage) ticker_stop(host.usage);
    host.usage = NULL;
    if (host.stage >= JOBS_ON) {
        call_deadline(c, left_of(began, host.cfg->drain_ms) + LAST_MS);
        jobs_drain(c);
        call_deadline(c, 0);
    }
    if (host.stage >= MODULES_ON) modules_stop(c, left_of(began, host.cfg->drain_ms));
    if (host.stage >= JOBS_ON) bus_stop();
    audit_stop(c);
    system_close();
    if (host.stage >= STORE_OPEN) {
        identity_stop(c);
        store_close(c);
    }
    http_close();
    otlp_stop(c);
    fetch_close();
    close_signals();
    if (host.watchdog) ticker_stop(host.watchdog);
    host.watchdog = NULL;
    log_info("stopped", LOG_I("ms", (clock_monotonic() - began) / 1000000), LOG_I("exit_code", host.exit_code));
    log_flush();
    loop_stop();
}

/* ---- start ---- */
static bool failed(const char *what, const char *why, int code)
{
    if (host.stopping) return false; /* asked to end while starting: not a failure */
    log_error(what, LOG_C("error", why));
    host.exit_code = code;
    return false;
}

static bool start_floors(call *c)
{
    char why[1024] = "";
    struct config *cfg = host.cfg;
    struct store_config store = store_settings(cfg);
    struct jobs_config jobs = jobs_settings(cfg);
    if (store_open(c, &store, why, sizeof why)) return failed("the store cannot be opened", why, EXIT_RUNTIME);
    host.stage = STORE_OPEN;
    if (module_migrate(c, "host", NULL, why, sizeof why)) return failed("migration failed", why, EXIT_RUNTIME);
    if (cfg->migrate_only) {
        host.stage = MODULES_ON;
        if (modules_start(c, true, why, sizeof why)) return failed("migration failed", why, EXIT_RUNTIME);
        log_info("migrations are applied", LOG_C("store", store_engine_name()));
        return false;
    }
    if (identity_start(c)) return failed("identity cannot start", store_error(c), EXIT_RUNTIME);
    if (start_fetch(cfg, why, sizeof why)) return failed("outbound HTTP cannot be set up", why, EXIT_CONFIG);
    if (start_tracing(cfg, why, sizeof why)) return failed("tracing cannot be set up", why, EXIT_CONFIG);
    bus_keep(cfg->bus_retention_ms);
    bus_stream_setup(&(struct bus_stream_config){ (uint32_t)cfg->bus_max_streams, (uint32_t)cfg->bus_heartbeat_ms });
    if (bus_start(c)) return failed("the bus cannot start", store_error(c), EXIT_RUNTIME);
    if (jobs_start(c, &jobs, module_invoke_job, why, sizeof why)) return failed("jobs cannot start", why, EXIT_RUNTIME);
    host.stage = JOBS_ON;
    return true;
}

static void sweep(call *c, void *arg)
{
    (void)arg;
    http_sweep(c);
}

static void usage(call *c, void *arg)
{
    (void)arg;
    http_usage_flush(c);
}

static bool start_serving(call *c)
{
    char why[1024] = "";
    struct config *cfg = host.cfg;
    struct server_config server = server_settings(cfg);
    start_http(cfg);
    host.stage = MODULES_ON;
    if (audit_start(why, sizeof why)) return failed("the audit log cannot be kept", why, EXIT_RUNTIME);
    if (modules_start(c, false, why, sizeof why)) return failed("modules cannot start", why, EXIT_RUNTIME);
    if (host.stopping) return false;
    if (server_start(&server, http_hooks(), why, sizeof why))
        return failed("the server cannot listen", why, EXIT_RUNTIME);
    host.stage = SERVING;
    host.sweeper = ticker_start("sweep", SWEEP_MS, sweep, NULL);
    host.usage = ticker_start("usage", USAGE_MS, usage, NULL);
    return true;
}

static void boot(call *c)
{
    host.booting = c;
    bool serving = start_floors(c) && start_serving(c);
    host.booting = NULL;
    if (!serving || host.stopping) {
        c->shielded = true; /* a signal may have cancelled the start; the stop goes through */
        stop(c);
        return;
    }
    sl_str address = SL("");
    server_addresses(&address, 1);
    system_state_set(SYSTEM_READY);
    notify("READY=1");
    start_watchdog();
    log_info("ready", LOG_S("address", address), LOG_C("store", store_engine_name()), LOG_C("version", SL_VERSION),
             LOG_I("ms", (clock_monotonic() - host.began) / 1000000));
}

/* ---- signals ---- */
static void on_end(uv_signal_t *s, int number)
{
    (void)s;
    if (host.stopping) { /* twice: at once. What was acknowledged is in the store */
        log_warn("stopped at once by a second signal", LOG_I("signal", number));
        log_flush();
        _exit(EXIT_FINE);
    }
    host.stopping = true;
    log_info("signal", LOG_C("name", strsignal(number)));
    if (host.booting)
        call_cancel(host.booting); /* its end stops the rest */
    else if (!call_start(256, 0, NULL, NULL, stop))
        _exit(EXIT_RUNTIME);
}

static void on_reload(uv_signal_t *s, int number)
{
    (void)s, (void)number;
    audit_reopen();
    config_reload_on_signal();
}

static void catch_signals(void)
{
    static const struct {
        int number;
        uv_signal_cb fn;
    } table[] = { { SIGTERM, on_end }, { SIGINT, on_end }, { SIGHUP, on_reload } };
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        uv_signal_init(loop_uv(), &host.signals[i]);
        uv_signal_start(&host.signals[i], table[i].fn, table[i].number);
        uv_unref((uv_handle_t *)&host.signals[i]);
    }
}

/* ---- what an operator should hear before the first request ---- */
static void warn_about(const struct config *c)
{
    if (c->dsn.n == 0)
        log_warn("the store is in memory: everything is lost at exit; give -dsn sqlite:PATH or postgres://...");
    if (c->api_tokens.n + c->admin_tokens.n + c->users.n == 0 && !c->provider_keys.n)
        log_warn("no tokens are configured: every route that needs one answers 401; set API_TOKENS and ADMIN_TOKENS");
    if (c->provider_keys.n && (!c->provider_issuer.n || !c->audience.n))
        log_warn("every token of the outside provider counts, also those made for others: set auth.provider.issuer and "
                 "auth.provider.audience");
    for (size_t i = 0; i < c->api_tokens.n + c->admin_tokens.n; i++) {
        sl_str t = i < c->api_tokens.n ? c->api_tokens.item[i] : c->admin_tokens.item[i - c->api_tokens.n];
        if (sl_is(t, "dev-token") || sl_is(t, "dev-admin-token"))
            log_warn("a development token is in use: anybody knows it", LOG_S("token", t));
    }
}

/* False: a message is in why, which never holds key material. */
static bool open_keys(struct config *c, char *why, size_t why_size)
{
    if (c->secret_keys.n) {
        host.keys = keyring_new(c->secret_keys, why, why_size);
        explicit_bzero((char *)(uintptr_t)c->secret_keys.p, c->secret_keys.n);
        c->secret_keys.n = 0;
        return host.keys != NULL;
    }
    if (c->dsn.n) {
        snprintf(why, why_size,
                 "security.secret_encryption_key is missing: a durable store needs SECRET_ENCRYPTION_KEY (16, 24 or 32 "
                 "bytes as hex or base64; `openssl rand -hex 32` makes one) or SECRET_ENCRYPTION_KEY_FILE");
        return false;
    }
    host.keys = keyring_random();
    log_warn(
        "SECRET_ENCRYPTION_KEY is not set: secrets are sealed with a random key that is lost at exit, as the store is");
    return true;
}

/* ---- arguments ---- */
static void print(FILE *to, buf *b)
{
    fwrite(b->p ? b->p : "", 1, b->n, to);
    fflush(to);
    buf_clear(b);
}

/* -version, -help, -print-config: an answer and the end. */
static bool answered(const struct config *c, buf *out)
{
    if (c->show_version)
        buf_printf(out, "appserver %s (contract %u.%u)\n", SL_VERSION, SL_MAJOR, SL_MINOR);
    else if (c->show_help)
        config_usage(out);
    else
        return false;
    print(stdout, out);
    return true;
}

static int check_and_print(const struct config *c, buf *out, buf *errors)
{
    int code = errors->n ? EXIT_CONFIG : EXIT_FINE;
    if (c->print) {
        config_print(c, out);
        modules_print_config(out);
        print(stdout, out);
    }
    print(stderr, errors);
    return code;
}

/* Many systems start programs with a soft limit of 1,024 descriptors and leave it to them to raise it. */
static void raise_descriptors(int64_t connections)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l)) return;
    l.rlim_cur = l.rlim_max < DESCRIPTORS_MAX ? l.rlim_max : DESCRIPTORS_MAX;
    if (setrlimit(RLIMIT_NOFILE, &l)) getrlimit(RLIMIT_NOFILE, &l);
    if (l.rlim_cur != RLIM_INFINITY && (int64_t)l.rlim_cur < connections + SPARE_DESCRIPTORS)
        log_warn("fewer descriptors are allowed than server.max_connections may need (ulimit -n, LimitNOFILE)",
                 LOG_I("allowed", (int64_t)l.rlim_cur), LOG_I("max_connections", connections));
}

static int run(void)
{
    raise_descriptors(host.cfg->max_connections);
    struct loop_config loop = { .slow_ms = (uint32_t)host.cfg->slow_ms, .max_calls = calls_at_once(host.cfg) };
    loop_setup(&loop, module_slow);
    catch_signals();
    crash_watch();
    system_setup(host.cfg);
    config_reload_setup(&host.cfg, host.argc, host.argv);
    if (!call_start(256, 0, NULL, NULL, boot)) return EXIT_RUNTIME;
    loop_run();
    modules_close();
    config_reload_close();
    loop_close();
    return host.exit_code;
}

static int serve_or_check(struct config *cfg, buf *out, buf *errors)
{
    char why[512] = "";
    bool looking = cfg->check || cfg->print || cfg->check_plugin.n;
    if (!looking) heap_start((size_t)cfg->heap_period); /* before there are other threads */
    if (looking)
        log_setup(SL_ERROR + 1, LOG_AS_TEXT, STDERR_FILENO);
    else
        start_log(cfg);
    modules_setup(cfg, &hooks, NULL, environ);
    module_builtin(&store_plugin);
    module_builtin(&system_plugin);
    module_builtin(&jobs_plugin);
    module_builtin(&modules_plugin);
    module_builtin(&configuration_plugin);
    module_builtin(&audit_plugin);
    module_builtin(&tokens_plugin);
    module_builtin(&auth_plugin);
    module_builtin(&bus_plugin);
    module_builtin(&debug_plugin);
    module_builtin(&openapi_plugin);
    if (cfg->check_plugin.n) {
        bool good = plugin_check(cfg->check_plugin.p, sl_is(cfg->check_format, "json"), out);
        print(stdout, out);
        modules_close();
        return good ? EXIT_FINE : EXIT_RUNTIME;
    }
    if (!looking) warn_about(cfg);
    if (!open_keys(cfg, why, sizeof why) && !(errors->n && memmem(errors->p, errors->n, why, strlen(why))))
        buf_printf(errors, "%s\n", why); /* unless the setting's own check has said it */
    modules_setup(cfg, &hooks, host.keys, environ);
    bool wrong = errors->n > 0; /* a broken plugin is left out of the start, unless it is required */
    modules_discover(errors);
    if (looking || wrong) {
        int code = check_and_print(cfg, out, errors);
        if (cfg->check && code == EXIT_FINE) puts("the configuration is good");
        modules_close();
        return code;
    }
    return run();
}

int main(int argc, char **argv)
{
    buf out, errors;
    int code = EXIT_CONFIG;
    if (argc == 2 && strcmp(argv[1], "--cell") == 0) return cell_child_main(&hooks); /* a plugin's child process */
    if (argc == 3 && strcmp(argv[1], PROBE_OPTION) == 0) {
        static const struct config none;
        modules_setup(&none, &hooks, NULL, environ);
        probe_main(argv[2]);
    }
    if (argc >= 2 && (strcmp(argv[1], "-audit-verify") == 0 || strcmp(argv[1], "--audit-verify") == 0)) {
        if (argc > 2) return chain_main(argc - 2, argv + 2, stdout);
        fputs("-audit-verify needs the files, oldest first; - is standard input\n", stderr);
        return EXIT_CONFIG;
    }
    host.began = clock_monotonic();
    host.argc = argc;
    host.argv = argv;
    buf_init(&out, ERRORS_MAX);
    buf_init(&errors, ERRORS_MAX);
    json_sensitive(false); /* sets how JSON is freed, before there are threads */
    host.cfg = config_load(argc, argv, environ, &errors);
    if (!host.cfg)
        print(stderr, &errors);
    else if (host.cfg->hash_password)
        code = password_command();
    else if (answered(host.cfg, &out))
        code = EXIT_FINE;
    else
        code = serve_or_check(host.cfg, &out, &errors);
    keyring_free(host.keys);
    config_free(host.cfg);
    metrics_reset();
    buf_free(&out);
    buf_free(&errors);
    return code;
}
