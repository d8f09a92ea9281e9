/* metrics.h - counters, gauges and histograms with bounded label sets, and their Prometheus text. Loop thread only. */
#ifndef OBSERVE_METRICS_H
#define OBSERVE_METRICS_H
#include "base/text.h"

typedef struct metric metric;
enum {
    METRIC_SERIES_MAX = 1000
}; /* label combinations a metric may have; more fall into one with every label "other" */

/* Get or make a metric by name; values outlive plugin reloads. `labels` = "method,route" or NULL. Strings are copied.
 * NULL: the name or a label is malformed, or it exists with another kind or labels. */
metric *metric_get(int kind, const char *name, const char *labels, const char *doc);
void metric_add(metric *m, double v, const sl_str *labels, size_t n); /* counter or histogram (observe) */
void metric_set(metric *m, double v, const sl_str *labels, size_t n); /* gauge */
/* The series behind a label set, to be kept by hot paths; never NULL; lives until metric_clear. */
typedef struct series series;
series *metric_series(metric *m, const sl_str *labels, size_t n);
void series_add(series *s, double v);
/* As series_add on a histogram, and the trace (32 hex digits) is remembered as the bucket's exemplar. */
void series_observe(series *s, double v, sl_str trace, int64_t at); /* at: microseconds since 1970 */
void metric_clear(metric *m);                                       /* forget all series (one-hot gauges) */
/* Called before each exposition, so that floors can set gauges from their own numbers. */
void metrics_on_scrape(void (*fn)(void));
/* Prometheus text format 0.0.4, or OpenMetrics 1.0 (openmetrics.io), which has exemplars too. */
void metrics_write(buf *out, bool openmetrics);
void metrics_reset(void); /* free everything (at exit) */
#endif
