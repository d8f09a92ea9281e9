/* metrics.c - gauges and counters about the process, store, network and modules, read off at each scrape. */
#include "api/api.h"
#include "base/clock.h"
#include "base/log.h"
#include "bus/follow.h"
#include "net/fetch.h"
#include "net/otlp.h"
#include "net/server.h"
#include "observe/metrics.h"
#include "observe/span.h"
#include "store/store.h"
#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

enum { LAG_TICK_MS = 500 };
static double started, lag, worst_lag;
static int64_t last_tick;
static ticker *lag_ticker;

static void gauge(const char *name, const char *doc, double v)
{
    metric *m = metric_get(SL_GAUGE, name, NULL, doc);
    if (m) metric_set(m, v, NULL, 0);
}

/* A running total kept elsewhere: `seen` remembers how much of it has been added. */
static void counter(const char *name, const char *doc, double total, double *seen)
{
    metric *m = metric_get(SL_COUNTER, name, NULL, doc);
    if (m && total >= *seen) metric_add(m, total - *seen, NULL, 0);
    *seen = total;
}
#define COUNTER(name, doc, total)                                                                                      \
    do {                                                                                                               \
        static double seen_;                                                                                           \
        counter(name, doc, (double)(total), &seen_);                                                                   \
    } while (0)

/* ---- the process ---- */
static double resident_bytes(void)
{
    long total = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f) return 0;
    if (fscanf(f, "%ld %ld", &total, &resident) != 2) resident = 0;
    fclose(f);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static double open_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    double n = -3; /* ".", ".." and the directory itself */
    if (!d) return 0;
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void process(void)
{
    struct rusage u;
    struct fiber_stats f = fiber_stats();
    getrusage(RUSAGE_SELF, &u);
    gauge("process_resident_memory_bytes", "Resident memory.", resident_bytes());
    gauge("process_open_fds", "Open file descriptors.", open_fds());
    gauge("process_start_time_seconds", "Start of the process, seconds since 1970.", started);
    COUNTER("process_cpu_seconds_total", "CPU time in user and kernel mode.",
            (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6);
    gauge("fibers_running", "Calls under way, each on a fiber.", (double)f.running);
    gauge("fiber_stack_bytes", "Address space of all fiber stacks.", (double)f.stack_bytes);
    gauge("loop_lag_seconds", "How late the loop's last timer was.", lag);
    gauge("loop_lag_max_seconds", "The latest timer since the last scrape.", worst_lag);
    worst_lag = 0;
    COUNTER("log_lines_dropped_total", "Log lines that the sink did not take.", log_dropped());
}

/* ---- floors ---- */
static void store(void)
{
    struct store_stats s = store_stats();
    gauge("db_up", "1 when the store answered last.", s.up);
    gauge("db_connections_open", "Connections to the store.", s.open);
    gauge("db_connections_active", "Of these, at work.", s.active);
    gauge("db_connections_max", "The most that may be open.", s.max_open);
    gauge("db_calls_waiting", "Calls in line for a connection.", s.waiting);
    COUNTER("db_commits_total", "Transactions committed.", s.commits);
    COUNTER("db_batches_total", "Commits to the disk; one may carry many transactions.", s.batches);
    COUNTER("db_rollbacks_total", "Transactions rolled back.", s.rollbacks);
    COUNTER("db_retries_total", "Transactions run again after a conflict.", s.retries);
    COUNTER("db_queries_total", "Statements run.", s.queries);
    COUNTER("db_errors_total", "Statements that failed.", s.errors);
}

static void network(void)
{
    struct server_stats s = server_stats();
    struct fetch_stats f = fetch_stats();
    gauge("server_connections", "Open client connections.", (double)s.connections);
    gauge("server_connections_idle", "Of these, between requests.", (double)s.idle);
    COUNTER("server_accepted_total", "Connections accepted.", s.accepted);
    COUNTER("server_refused_total", "Connections refused over the limit.", s.refused);
    COUNTER("server_yields_total", "Times a connection with more requests waiting let the others go first.", s.yields);
    COUNTER("server_timeouts_total", "Connections cut for being slow.", s.timeouts);
    COUNTER("server_parse_errors_total", "Requests that could not be parsed.", s.parse_errors);
    COUNTER("server_received_bytes_total", "Bytes from clients.", s.bytes_in);
    COUNTER("server_sent_bytes_total", "Bytes to clients.", s.bytes_out);
    gauge("outbound_requests_active", "Outbound requests under way.", f.active);
    gauge("outbound_requests_waiting", "Outbound requests that wait for a connection.", f.waiting);
    COUNTER("outbound_requests_total", "Outbound requests that were answered.", f.done);
    COUNTER("outbound_failures_total", "Outbound requests that got no answer.", f.failed);
    COUNTER("outbound_blocked_total", "Outbound requests refused for their address.", f.blocked);
    gauge("bus_streams", "Streams of events open to clients.", (double)followers());
    COUNTER("outbound_received_bytes_total", "Bytes received from outside.", f.bytes);
}

static void tracing(void)
{
    struct spans_stats s = spans_stats();
    struct otlp_stats o = otlp_stats();
    if (!spans_on()) return;
    COUNTER("traces_spans_total", "Spans recorded.", s.recorded);
    COUNTER("traces_spans_dropped_total", "Spans lost: the queue was full, or the collector took none.", s.dropped);
    gauge("traces_spans_waiting", "Spans that wait for the collector.", (double)s.waiting);
    COUNTER("traces_exports_total", "Batches that the collector took.", o.exports);
    COUNTER("traces_export_failures_total", "Attempts to deliver a batch that failed.", o.failures);
}

/* ---- modules ---- */
static void child_process(const struct module *m, metric *const shown[5])
{
    struct module_process p;
    sl_str name = sl_cstr(m->name);
    if (!module_process(m, &p)) return;
    const double values[] = { p.pid != 0, p.quarantined, (double)m->restarts, (double)p.resident,
                              (double)p.cpu_us / 1e6 };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        metric_set(shown[i], values[i], &name, 1);
}

static void child_processes(void)
{
    static const char *const names[][2] = {
        { "service_module_process_up", "1: the module's child process is there." },
        { "service_module_process_quarantined", "1: it crashed too often and is not started again." },
        { "service_module_process_crashes", "Crashes of the module's child processes since the start." },
        { "service_module_process_resident_bytes", "Memory of the child process." },
        { "service_module_process_cpu_seconds", "Processor time of the child process that runs now." },
    };
    metric *shown[5];
    for (size_t i = 0; i < 5; i++) {
        shown[i] = metric_get(SL_GAUGE, names[i][0], "module", names[i][1]);
        metric_clear(shown[i]);
    }
    for (const struct module *m = modules_first(); m; m = m->next)
        child_process(m, shown);
}

static void modules(void)
{
    metric *status = metric_get(SL_GAUGE, "service_module_status", "module,status",
                                "1 for the status that the module has.");
    metric *calls = metric_get(SL_GAUGE, "service_module_calls", "module", "Calls run by a module since the start.");
    metric *errors = metric_get(SL_GAUGE, "service_module_errors", "module",
                                "Calls of a module that ended in a fault.");
    metric *slow = metric_get(SL_GAUGE, "service_module_slow_calls", "module",
                              "Times a module held the loop too long.");
    metric *stack = metric_get(SL_GAUGE, "service_module_stack_bytes", "module", "Deepest stack seen (sampled).");
    metric *parked = metric_get(SL_GAUGE, "service_module_parked", "module", "Generations that would not end.");
    metric *build = metric_get(SL_GAUGE, "service_layer_build_info", "version",
                               "1; the label says which release runs.");
    metric *findings = metric_get(SL_GAUGE, "service_module_findings", "module,class,policy",
                                  "1 for each class of findings on the file of a module that is loaded.");
    sl_str release = SL(SL_VERSION);
    metric_clear(status);
    metric_clear(findings);
    for (const struct module *m = modules_first(); m; m = m->next) {
        sl_str labels[2] = { sl_cstr(m->name), sl_cstr(module_status_name(m->status)) };
        metric_set(status, 1, labels, 2);
        for (size_t i = 0; m->current && i < m->current->n_findings; i++) {
            const struct finding *f = &m->current->findings[i];
            sl_str of[] = { labels[0], sl_cstr(f->class), sl_cstr(finding_policy_name(f->policy)) };
            metric_set(findings, 1, of, 3);
        }
        metric_set(calls, (double)m->calls, labels, 1);
        metric_set(errors, (double)m->errors, labels, 1);
        metric_set(slow, (double)m->slow, labels, 1);
        metric_set(stack, (double)m->stack_used, labels, 1);
        metric_set(parked, (double)m->parked, labels, 1);
    }
    metric_set(build, 1, &release, 1);
}

static void on_scrape(void)
{
    process();
    store();
    network();
    tracing();
    modules();
    child_processes();
}

static void on_lag_tick(call *c, void *arg)
{
    (void)c, (void)arg;
    int64_t now = clock_monotonic();
    if (last_tick) {
        lag = (double)(now - last_tick) / 1e9 - LAG_TICK_MS / 1e3;
        if (lag < 0) lag = 0;
        if (lag > worst_lag) worst_lag = lag;
    }
    last_tick = now;
}

void system_metrics_setup(void)
{
    started = (double)clock_now() / 1e6;
    metrics_on_scrape(on_scrape);
    lag_ticker = ticker_start("loop lag", LAG_TICK_MS, on_lag_tick, NULL);
}

void system_metrics_close(void)
{
    if (lag_ticker) ticker_stop(lag_ticker);
    lag_ticker = NULL;
}
