/* span.h - spans of the W3C trace that a call is part of, encoded as they end, kept until they are exported. Loop
 * thread only. */
#ifndef OBSERVE_SPAN_H
#define OBSERVE_SPAN_H
#include "loop/call.h"
#include "base/text.h"

struct spans_config {
    double ratio;     /* of traces that begin here and are recorded, 0 to 1 */
    size_t max_spans; /* kept at the most; further ones are dropped and counted */
    size_t batch;     /* so many wake the exporter */
    void (*full)(void);
};
void spans_setup(const struct spans_config *cfg); /* from now on spans are recorded */
void spans_close(void);
bool spans_on(void);

/* ---- trace context (W3C Trace Context, level 1) ---- */
enum { TRACEPARENT_TEXT = 56, TRACE_ID_TEXT = 33 };
/* Part of the trace that a `traceparent` names: true, and t is filled in (t->id points into the text). */
bool trace_join(struct call_trace *t, sl_str traceparent);
void trace_begin(struct call_trace *t, sl_str id); /* a trace that begins here: 32 hex digits that outlive t */
/* What is handed on to others: "00-<trace>-<innermost span>-<flags>", 55 characters; absent without a trace. */
sl_str trace_parent(const struct call_trace *t, char out[TRACEPARENT_TEXT]);
uint64_t span_id_new(void);

/* ---- spans ---- */
enum span_kind { SPAN_INTERNAL = 1, SPAN_SERVER, SPAN_CLIENT, SPAN_PRODUCER, SPAN_CONSUMER }; /* OTLP's numbers */
struct span_attribute { /* named as in the semantic conventions of OpenTelemetry; an absent text is left out */
    sl_str name, text;
    int64_t number;
    bool is_number;
};
#define SPAN_S(key, value) ((struct span_attribute){ .name = SL(key), .text = (value) })
#define SPAN_C(key, value) ((struct span_attribute){ .name = SL(key), .text = sl_cstr(value) })
#define SPAN_I(key, value) ((struct span_attribute){ .name = SL(key), .number = (int64_t)(value), .is_number = true })

struct span { /* on the stack of the function that it measures */
    call *c;  /* NULL: nobody records this */
    uint64_t id, parent;
    int64_t start; /* clock_monotonic() */
};
void span_open_recorded(struct span *s, call *c);
/* The call's innermost span from here to span_close; spans nest as functions do. */
static inline void span_open(struct span *s, call *c)
{
    s->c = NULL;
    if (c->trace.recorded) span_open_recorded(s, c);
}
static inline bool span_recorded(const struct span *s) { return s->c != NULL; }
/* Absent error = it went well. Everything is copied; text over 1 KiB is cut. At most 16 attributes. */
void span_close(struct span *s, enum span_kind kind, sl_str name, sl_str error, const struct span_attribute *attributes,
                size_t n);

/* One that was not measured on a stack. */
struct span_record {
    sl_str trace; /* 32 hex digits */
    uint64_t id, parent;
    int64_t start, end; /* nanoseconds since 1970 */
    enum span_kind kind;
    sl_str name, error;
    const struct span_attribute *attributes;
    size_t n;
};
void span_write(const struct span_record *r);
int64_t span_wall(int64_t monotonic); /* clock_monotonic() as nanoseconds since 1970, right to a second of drift */

/* ---- for the exporter ---- */
struct spans_stats {
    uint64_t recorded, dropped;
    size_t waiting;
};
struct spans_stats spans_stats(void);
/* Take all that wait: `out`, whose memory is used for the next ones, gets a sequence of `spans` fields of OTLP's
 * ScopeSpans. Their number.
 */
size_t spans_take(buf *out);
void spans_count_dropped(size_t n); /* those that were taken and could not be delivered */
#endif
