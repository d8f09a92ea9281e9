/* system_fields.h - private to system.c: what the routes about the server itself answer, as field lists. */
#ifndef API_SYSTEM_FIELDS_H
#define API_SYSTEM_FIELDS_H
#include <service_layer/fields.h>

#define SYSTEM_TEXT    "\"type\":\"string\""
#define SYSTEM_WHOLE   "\"type\":\"integer\""
#define SYSTEM_NUMBER  "\"type\":\"number\""
#define SYSTEM_NULL    "\"type\":[\"integer\",\"null\"]"
#define SYSTEM_LIST(t) "\"type\":\"array\",\"items\":" t
#define SYSTEM_TEXTS   SYSTEM_LIST("{" SYSTEM_TEXT "}")

#define LIVENESS SL_OBJECT(SL_REQUIRED("status", SYSTEM_TEXT, "ok."))
#define CHECK                                                                                                          \
    SL_OBJECT(SL_REQUIRED("name", SYSTEM_TEXT, "The module."), SL_REQUIRED("ready", SL_BOOLEAN, "Does it work?"),      \
              SL_REQUIRED("required", SL_BOOLEAN, "/readyz depends on it."),                                           \
              SL_REQUIRED("ms", SYSTEM_WHOLE, "How long the check took, in milliseconds."),                            \
              SL_OPTIONAL("isolation", SYSTEM_TEXT, "process: it runs in a process of its own."),                      \
              SL_OPTIONAL("restarts", SYSTEM_WHOLE, "Of that process."),                                               \
              SL_OPTIONAL("quarantined", SL_BOOLEAN, "It crashed too often and is not started again."))
#define HEALTH                                                                                                         \
    SL_OBJECT(SL_REQUIRED("status", SYSTEM_TEXT, "ready or ok."),                                                      \
              SL_OPTIONAL("checks", SYSTEM_LIST(CHECK), "Each check, with `verbose`."))
#define VERSION                                                                                                        \
    SL_OBJECT(SL_REQUIRED("name", SYSTEM_TEXT, "service-layer."),                                                      \
              SL_REQUIRED("version", SYSTEM_TEXT, "The release that runs."),                                           \
              SL_REQUIRED("contract", SYSTEM_TEXT, "Version of the contract with plugins."))
#define MODULE_STATUS                                                                                                  \
    SL_OBJECT(SL_REQUIRED("name", SYSTEM_TEXT, "Of the module."),                                                      \
              SL_REQUIRED("version", SYSTEM_TEXT, "Of its plugin."),                                                   \
              SL_REQUIRED("doc", SL_TEXT_OR_NULL, "What it is for."),                                                  \
              SL_REQUIRED("status", SYSTEM_TEXT, "started, waiting, failed, disabled, stopped ..."),                   \
              SL_REQUIRED("ready", SL_BOOLEAN, "Its last check."),                                                     \
              SL_REQUIRED("error", SL_TEXT_OR_NULL, "Why it does not run or is not ready."),                           \
              SL_REQUIRED("needs", SYSTEM_TEXTS, "Plugins that it needs."),                                            \
              SL_REQUIRED("grants", SL_TEXT_OR_NULL, "What it may do."),                                               \
              SL_REQUIRED("required", SL_BOOLEAN, "The server does not run without it."),                              \
              SL_REQUIRED("builtin", SL_BOOLEAN, "Linked into the server."),                                           \
              SL_REQUIRED("started_at", SL_TIME, "When it was started."),                                              \
              SL_REQUIRED("stopped_at", SL_TIME, "When it was stopped."),                                              \
              SL_REQUIRED("start_ms", SYSTEM_NUMBER, "How long the start took."),                                      \
              SL_REQUIRED("stop_ms", SYSTEM_NUMBER, "How long the stop took."),                                        \
              SL_REQUIRED("slow_start", SL_BOOLEAN, "Longer than `modules.slow_module_ms`."),                          \
              SL_REQUIRED("isolation", SL_ENUM("none", "process"), "Runs in the server or in a process of its own."),  \
              SL_OPTIONAL("pid", "\"type\":[\"integer\",\"null\"]", "Of that process; null = none runs."),             \
              SL_OPTIONAL("resident_bytes", SYSTEM_WHOLE, "Memory of that process."),                                  \
              SL_OPTIONAL("restarts", SYSTEM_WHOLE, "Of that process."),                                               \
              SL_OPTIONAL("quarantined", SL_BOOLEAN, "It crashed too often and is not started again."),                \
              SL_OPTIONAL("last_crash", SL_TEXT_OR_NULL, "How that process ended last."),                              \
              SL_OPTIONAL("crashed_at", SL_TIME, "When."),                                                             \
              SL_REQUIRED("generation", SYSTEM_WHOLE, "Counts up with each load; 0 = not loaded."),                    \
              SL_REQUIRED("parked", SYSTEM_WHOLE, "Generations that would not end."),                                  \
              SL_REQUIRED("calls", SYSTEM_WHOLE, "Calls run since the start."),                                        \
              SL_REQUIRED("errors", SYSTEM_WHOLE, "Of these, such that ended in a fault."),                            \
              SL_REQUIRED("slow_calls", SYSTEM_WHOLE, "Times that it held the loop too long."))
#define STATUS                                                                                                         \
    SL_OBJECT(SL_REQUIRED("status", SYSTEM_TEXT, "ok, degraded or stopping."),                                         \
              SL_REQUIRED("version", SYSTEM_TEXT, "The release that runs."),                                           \
              SL_REQUIRED("started_at", SL_TIME, "When the process began."),                                           \
              SL_REQUIRED("uptime_seconds", SYSTEM_WHOLE, "How long ago that is."),                                    \
              SL_REQUIRED("listen", SYSTEM_TEXTS, "Addresses that it listens on."),                                    \
              SL_REQUIRED("store", SYSTEM_TEXT, "memory, sqlite or postgres."),                                        \
              SL_REQUIRED("durable", SL_BOOLEAN, "What is stored outlives the process."),                              \
              SL_REQUIRED("calls", SYSTEM_WHOLE, "Under way."),                                                        \
              SL_REQUIRED("modules", SYSTEM_LIST(MODULE_STATUS), "In start order."))
#define RATE                                                                                                           \
    SL_OBJECT(SL_REQUIRED("limit", SL_ENUM("token", "address", "tenant"), "What is counted."),                         \
              SL_REQUIRED("burst", SYSTEM_WHOLE, "Requests at once."),                                                 \
              SL_REQUIRED("per_second", SYSTEM_NUMBER, "Requests a second in the long run."),                          \
              SL_REQUIRED("remaining", SYSTEM_WHOLE, "What is left now."),                                             \
              SL_REQUIRED("reset_seconds", SYSTEM_WHOLE, "Until all are there again."))
#define AT_ONCE                                                                                                        \
    SL_OBJECT(SL_REQUIRED("limit", SYSTEM_NULL, "The most; null = no limit."),                                         \
              SL_REQUIRED("now", SYSTEM_WHOLE, "Under way."))
#define DAILY                                                                                                          \
    SL_OBJECT(SL_REQUIRED("limit", SYSTEM_NULL, "The most; null = no limit."),                                         \
              SL_REQUIRED("used", SYSTEM_WHOLE, "Counted today, when there is a limit."),                              \
              SL_REQUIRED("resets_at", SL_TIME, "Midnight in UTC."))
#define LIMITS                                                                                                         \
    "{\"type\":\"object\",\"additionalProperties\":false,\"required\":[\"requests_at_once\",\"requests_of_the_day\"]," \
    "\"properties\":{" SL_JOIN(                                                                                        \
        SL_REQUIRED("actor", SYSTEM_TEXT, "Who asks."), SL_REQUIRED("tenant", SYSTEM_TEXT, "For whom."),               \
        SL_REQUIRED("rates", SYSTEM_LIST(RATE), "Rates that apply to the caller."), "\"requests_at_once\":" AT_ONCE,   \
        "\"requests_of_the_day\":" DAILY, SL_REQUIRED("max_body_bytes", SYSTEM_WHOLE, "Of a request."),                \
        SL_REQUIRED("page_max", SYSTEM_WHOLE, "Largest `limit` of a list."),                                           \
        SL_REQUIRED("deadline_ms", SYSTEM_WHOLE, "Of a route that states none."),                                      \
        SL_REQUIRED("server_requests_at_once", SYSTEM_WHOLE, "Of all callers together.")) "}}"
#endif
