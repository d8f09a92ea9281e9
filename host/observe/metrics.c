/* metrics.c - counters, gauges and histograms with bounded label sets, and their Prometheus text. */
#include "observe/metrics.h"
#include "base/log.h"
#include <stdlib.h>

enum { LABELS_MAX = 8, VALUE_MAX = 128, SCRAPES_MAX = 32, BUCKETS = 14 };

/* Upper bounds in seconds (the unit of every histogram here): a factor of about 2.2 from 0.5 ms to 10 s. */
static const double bounds[BUCKETS] = { .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10 };
static const char *const bound_text[BUCKETS + 1] = { "0.0005", "0.001", "0.0025", "0.005", "0.01",
                                                     "0.025",  "0.05",  "0.1",    "0.25",  "0.5",
                                                     "1",      "2.5",   "5",      "10",    "+Inf" };

struct exemplar {
    char trace[33]; /* "" = none */
    double value;
    int64_t at; /* microseconds since 1970 */
};
struct series {
    metric *of;
    char *labels; /* `a="x",b="y"`, escaped, "" without labels */
    uint64_t hash;
    double value; /* counter, gauge; sum of a histogram */
    uint64_t count, bucket[BUCKETS];
    struct exemplar *exemplars; /* BUCKETS + 1, made with the first one */
    struct series *next;
};
struct metric {
    int kind;
    char *name, *doc, *names[LABELS_MAX], *label_text;
    size_t n_names, n_series;
    struct series *series, **table; /* table: open addressing, doubled when half full */
    size_t room;
    struct series *other;
    metric *next;
};
static metric *metrics, **metrics_end = &metrics;
static void (*scrapes[SCRAPES_MAX])(void);
static size_t n_scrapes;

static char *copy(const char *s)
{
    char *p = strdup(s ? s : "");
    if (!p) abort();
    return p;
}

static bool name_ok(const char *s)
{
    size_t n = strlen(s);
    if (n == 0 || n > 100 || (s[0] >= '0' && s[0] <= '9')) return false;
    return strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == n;
}

static void metric_free(metric *m)
{
    metric_clear(m);
    for (size_t i = 0; i < m->n_names; i++)
        free(m->names[i]);
    free(m->table);
    free(m->name);
    free(m->doc);
    free(m->label_text);
    free(m);
}

metric *metric_get(int kind, const char *name, const char *labels, const char *doc)
{
    labels = labels ? labels : "";
    for (metric *m = metrics; m; m = m->next)
        if (strcmp(m->name, name) == 0) return m->kind == kind && strcmp(m->label_text, labels) == 0 ? m : NULL;
    if (!name_ok(name) || kind < SL_COUNTER || kind > SL_HISTOGRAM) return NULL;
    metric *m = calloc(1, sizeof *m);
    if (!m) abort();
    m->kind = kind;
    m->name = copy(name);
    m->doc = copy(doc);
    m->label_text = copy(labels);
    sl_str rest = *labels ? sl_cstr(labels) : sl_lit(NULL, 0), part;
    while (str_split(&rest, ',', &part)) {
        part = str_trim(part);
        char *one = strndup(part.p, part.n);
        if (!one || m->n_names == LABELS_MAX || !name_ok(one) || strcmp(one, "le") == 0) {
            free(one);
            metric_free(m);
            return NULL;
        }
        m->names[m->n_names++] = one;
    }
    *metrics_end = m;
    metrics_end = &m->next;
    return m;
}

/* v is UTF-8, and so is what is left of it: one broken character would make scrapers refuse the whole text. */
static void add_escaped(buf *b, sl_str v)
{
    size_t n = v.n < VALUE_MAX ? v.n : VALUE_MAX;
    while (n < v.n && n > 0 && ((unsigned char)v.p[n] & 0xc0) == 0x80)
        n--;
    for (size_t i = 0; i < n; i++) {
        if (v.p[i] == '\\' || v.p[i] == '"') buf_add_char(b, '\\');
        if (v.p[i] == '\n')
            buf_add_cstr(b, "\\n");
        else
            buf_add_char(b, (unsigned char)v.p[i] < 0x20 ? '?' : v.p[i]);
    }
}

static sl_str label_text(buf *b, const metric *m, const sl_str *labels, size_t n)
{
    buf_clear(b);
    for (size_t i = 0; i < m->n_names; i++) {
        sl_str v = i < n ? labels[i] : SL("");
        if (i) buf_add_char(b, ',');
        buf_add_cstr(b, m->names[i]);
        buf_add_cstr(b, "=\"");
        add_escaped(b, str_is_utf8(v) ? v : SL("invalid"));
        buf_add_char(b, '"');
    }
    return buf_str(b);
}

static void table_put(metric *m, struct series *s)
{
    size_t i = s->hash & (m->room - 1);
    while (m->table[i])
        i = (i + 1) & (m->room - 1);
    m->table[i] = s;
}

static struct series *series_new(metric *m, sl_str text, uint64_t hash)
{
    struct series *s = calloc(1, sizeof *s);
    if (!s) abort();
    s->of = m;
    s->labels = strndup(text.n ? text.p : "", text.n);
    s->hash = hash;
    s->next = m->series;
    m->series = s;
    if (2 * ++m->n_series > m->room) {
        free(m->table);
        m->room = m->room ? 2 * m->room : 8;
        m->table = calloc(m->room, sizeof *m->table);
        if (!m->table || !s->labels) abort();
        for (struct series *each = m->series; each; each = each->next)
            table_put(m, each);
    } else
        table_put(m, s);
    return s;
}

series *metric_series(metric *m, const sl_str *labels, size_t n)
{
    static buf b = { .max = 16384 };
    if (m->n_names == 0 && m->series) return m->series;
    sl_str text = label_text(&b, m, labels, n);
    uint64_t hash = str_hash(text);
    if (m->room)
        for (size_t i = hash & (m->room - 1); m->table[i]; i = (i + 1) & (m->room - 1))
            if (m->table[i]->hash == hash && sl_same(sl_cstr(m->table[i]->labels), text)) return m->table[i];
    if (m->n_series < METRIC_SERIES_MAX) return series_new(m, text, hash);
    if (!m->other) {
        sl_str other[LABELS_MAX];
        for (size_t i = 0; i < LABELS_MAX; i++)
            other[i] = SL("other");
        text = label_text(&b, m, other, LABELS_MAX);
        m->other = series_new(m, text, str_hash(text));
        log_warn("a metric has too many label sets, further ones count as \"other\"", LOG_C("metric", m->name));
    }
    return m->other;
}

/* BUCKETS: above all bounds. */
static size_t bucket_of(double v)
{
    size_t i = 0;
    while (i < BUCKETS && v > bounds[i])
        i++;
    return i;
}

void series_add(series *s, double v)
{
    if (!(v >= 0) || v - v != 0) return; /* NaN, infinity and negatives would spoil the sum for ever */
    s->value += v;
    if (s->of->kind != SL_HISTOGRAM) return;
    s->count++;
    size_t i = bucket_of(v);
    if (i < BUCKETS) s->bucket[i]++;
}

void series_observe(series *s, double v, sl_str trace, int64_t at)
{
    series_add(s, v);
    if (s->of->kind != SL_HISTOGRAM || !(v >= 0) || trace.n != sizeof s->exemplars->trace - 1) return;
    if (!s->exemplars && !(s->exemplars = calloc(BUCKETS + 1, sizeof *s->exemplars))) abort();
    struct exemplar *e = &s->exemplars[bucket_of(v)];
    memcpy(e->trace, trace.p, trace.n);
    e->value = v;
    e->at = at;
}

void metric_add(metric *m, double v, const sl_str *labels, size_t n)
{
    if (m && m->kind != SL_GAUGE) series_add(metric_series(m, labels, n), v);
}

void metric_set(metric *m, double v, const sl_str *labels, size_t n)
{
    if (m && m->kind == SL_GAUGE) metric_series(m, labels, n)->value = v;
}

void metric_clear(metric *m)
{
    for (struct series *s = m->series, *next; s; s = next) {
        next = s->next;
        free(s->labels);
        free(s->exemplars);
        free(s);
    }
    m->series = m->other = NULL;
    m->n_series = 0;
    if (m->table) memset(m->table, 0, m->room * sizeof *m->table);
}

void metrics_on_scrape(void (*fn)(void))
{
    if (n_scrapes < SCRAPES_MAX) scrapes[n_scrapes++] = fn;
}

/* ---- exposition ---- */
static void write_value(buf *out, const char *name, const char *suffix, const char *labels, const char *more, double v)
{
    buf_add_cstr(out, name);
    buf_add_cstr(out, suffix);
    if (*labels || *more) {
        buf_add_char(out, '{');
        buf_add_cstr(out, labels);
        if (*labels && *more) buf_add_char(out, ',');
        buf_add_cstr(out, more);
        buf_add_char(out, '}');
    }
    buf_add_char(out, ' ');
    if (v < 1e15 && v > -1e15 && v == (double)(int64_t)v)
        buf_add_int(out, (int64_t)v);
    else
        buf_printf(out, "%.9g", v);
    buf_add_char(out, '\n');
}

static void write_exemplar(buf *out, const struct series *s, size_t i)
{
    if (!s->exemplars || !s->exemplars[i].trace[0]) return;
    const struct exemplar *e = &s->exemplars[i];
    out->n--; /* goes on with the line */
    buf_printf(out, " # {trace_id=\"%s\"} %.9g %.6f\n", e->trace, e->value, (double)e->at / 1e6);
}

static void write_histogram(buf *out, const metric *m, const struct series *s, bool openmetrics)
{
    uint64_t total = 0;
    for (size_t i = 0; i <= BUCKETS; i++) {
        bool whole = openmetrics && i < BUCKETS && !strchr(bound_text[i], '.'); /* there 1 is written 1.0 */
        char le[24], *p = stpcpy(stpcpy(le, "le=\""), bound_text[i]);
        strcpy(p, whole ? ".0\"" : "\"");
        total = i < BUCKETS ? total + s->bucket[i] : s->count;
        write_value(out, m->name, "_bucket", s->labels, le, (double)total);
        if (openmetrics) write_exemplar(out, s, i);
    }
    write_value(out, m->name, "_sum", s->labels, "", s->value);
    write_value(out, m->name, "_count", s->labels, "", (double)s->count);
}

static void write_doc(buf *out, const char *doc, bool openmetrics)
{
    for (const char *p = doc; *p; p++) {
        if (*p == '\\' || (openmetrics && *p == '"')) buf_add_char(out, '\\');
        buf_add_char(out, *p == '\n' ? ' ' : *p);
    }
}

static void write_metric(buf *out, const metric *m, bool openmetrics)
{
    static const char *const kinds[] = { "", "counter", "gauge", "histogram" };
    const char *kind = kinds[m->kind];
    int length = (int)strlen(m->name);
    if (openmetrics && m->kind == SL_COUNTER) { /* there `_total` belongs to the sample, not to the family */
        if (str_ends(sl_cstr(m->name), "_total"))
            length -= 6;
        else
            kind = "unknown";
    }
    buf_printf(out, "# HELP %.*s ", length, m->name);
    write_doc(out, m->doc, openmetrics);
    buf_printf(out, "\n# TYPE %.*s %s\n", length, m->name, kind);
    for (const struct series *s = m->series; s; s = s->next) {
        if (m->kind == SL_HISTOGRAM)
            write_histogram(out, m, s, openmetrics);
        else
            write_value(out, m->name, "", s->labels, "", s->value);
    }
}

void metrics_write(buf *out, bool openmetrics)
{
    for (size_t i = 0; i < n_scrapes; i++)
        scrapes[i]();
    for (const metric *m = metrics; m; m = m->next)
        if (m->series) write_metric(out, m, openmetrics);
    if (openmetrics) buf_add_cstr(out, "# EOF\n");
}

void metrics_reset(void)
{
    while (metrics) {
        metric *m = metrics;
        metrics = m->next;
        metric_free(m);
    }
    metrics_end = &metrics;
    n_scrapes = 0;
}
