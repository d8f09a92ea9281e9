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
/* The series behind a label set, to be kept by hot paths; never NULL; lives as long as the process. */
typedef struct series series;
series *metric_series(metric *m, const sl_str *labels, size_t n);
void series_add(series *s, double v);
void series_set(series *s, double v);
void metric_clear(metric *m); /* forget all series (one-hot gauges) */
/* Called before each exposition, so that floors can set gauges from their own numbers. */
void metrics_on_scrape(void (*fn)(void));
void metrics_write(buf *out); /* Prometheus text format 0.0.4 */
void metrics_reset(void);     /* free everything (at exit) */
#endif
