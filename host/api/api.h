/* api.h - the modules that are part of the host: store, system and jobs, offered through the same descriptor as any
 * plugin. */
#ifndef API_API_H
#define API_API_H
#include "config/config.h"
#include "module/module.h"

extern const sl_plugin store_plugin, system_plugin, jobs_plugin, modules_plugin, audit_plugin, bus_plugin, debug_plugin,
    tokens_plugin, auth_plugin;
extern const sl_plugin openapi_plugin;
extern const sl_plugin configuration_plugin;
#define SL_LINKED_PLUGIN(symbol, id, ...)                                                                              \
    const sl_plugin symbol = { .size = sizeof(sl_plugin),                                                              \
                               .major = SL_MAJOR,                                                                      \
                               .minor = SL_MINOR,                                                                      \
                               .entry_size = sizeof(sl_entry),                                                         \
                               .metric_size = sizeof(sl_metric),                                                       \
                               .need_size = sizeof(sl_need),                                                           \
                               .name = (id),                                                                           \
                               .version = SL_VERSION,                                                                  \
                               __VA_ARGS__ }

int password_command(void); /* -hash-password; the exit code */

enum system_state { SYSTEM_STARTING, SYSTEM_READY, SYSTEM_STOPPING };
void system_setup(const struct config *cfg);        /* before the modules start; cfg must outlive it; needs the loop */
void system_reconfigured(const struct config *cfg); /* another one is in force */
bool system_serving(void);                          /* neither starting nor stopping */
void system_state_set(enum system_state s);         /* /readyz answers 200 only in SYSTEM_READY */
void system_close(void);                            /* in a fiber or outside; stops what system_setup started */

/* ---- bus_stream.c ---- */
struct bus_stream_config {
    uint32_t max_streams, heartbeat_ms;
};
void bus_stream_setup(const struct bus_stream_config *cfg); /* before the modules start */
/* ---- checks.c ---- */
struct check {
    char name[64];
    bool ready, vital, isolated, quarantined;
    uint32_t ms, restarts;
    char why[256];
}; /* vital: /readyz depends on it */
/* [S] Health of all enabled modules, at most a second old. The array is valid until the next [S]. */
const struct check *system_checks(call *c, size_t *n);
void system_checks_close(void);
/* ---- metrics.c ---- */
void system_metrics_setup(void); /* gauges that are read at each scrape */
void system_metrics_close(void);
#endif
