/* span.c - spans of the W3C trace that a call is part of, encoded as they end, kept until they are exported. */
#include "observe/span.h"
#include "base/id.h"
#include "base/protobuf.h"
#include <time.h>

enum { TEXT_MAX = 1024, BYTES_A_SPAN = 1024 };

static struct {
    bool on;
    struct spans_config cfg;
    uint64_t below; /* a new trace is recorded when 56 random bits are below this */
    buf waiting;
    size_t n;
    struct spans_stats stats;
} spans;

void spans_setup(const struct spans_config *cfg)
{
    spans.cfg = *cfg;
    spans.below = (uint64_t)(cfg->ratio * (double)(UINT64_C(1) << 56));
    buf_free(&spans.waiting);
    buf_init(&spans.waiting, cfg->max_spans * BYTES_A_SPAN);
    spans.n = 0;
    spans.on = true;
}

void spans_close(void)
{
    spans.on = false;
    buf_free(&spans.waiting);
    spans.n = 0;
}

bool spans_on(void) { return spans.on; }

/* ---- ids: unique is all that they must be, and one is made for each span ---- */
static uint64_t random_next(void)
{
    static uint64_t state[2];
    if (!state[0] && !state[1]) random_bytes(state, sizeof state);
    uint64_t a = state[0], b = state[1], sum = a + b; /* xoroshiro128+ */
    b ^= a;
    state[0] = (a << 24 | a >> 40) ^ b ^ b << 16;
    state[1] = b << 37 | b >> 27;
    return sum;
}

uint64_t span_id_new(void)
{
    uint64_t id = random_next();
    return id ? id : 1;
}

int64_t span_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- trace context ---- */
static int hex_digit(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; }

/* Lower-case hex digits only; *value keeps the last 16. */
static bool hex_number(sl_str s, uint64_t *value, bool *zero)
{
    *value = 0;
    *zero = true;
    for (size_t i = 0; i < s.n; i++) {
        int d = hex_digit(s.p[i]);
        if (d < 0) return false;
        if (d) *zero = false;
        *value = *value << 4 | (uint64_t)d;
    }
    return true;
}

/* 3.2.2: version-traceid-parentid-flags; later versions may say more behind another dash. */
bool trace_join(struct call_trace *t, sl_str s)
{
    uint64_t version, trace, parent, flags;
    bool zero;
    if (s.n < 55 || s.p[2] != '-' || s.p[35] != '-' || s.p[52] != '-') return false;
    if (!hex_number(str_sub(s, 0, 2), &version, &zero) || version == 0xff) return false;
    if (s.n > 55 && (version == 0 || s.p[55] != '-')) return false;
    if (!hex_number(str_sub(s, 3, 32), &trace, &zero) || zero) return false;
    if (!hex_number(str_sub(s, 36, 16), &parent, &zero) || zero) return false;
    if (!hex_number(str_sub(s, 53, 2), &flags, &zero)) return false;
    *t = (struct call_trace){ .id = str_sub(s, 3, 32), .span = parent, .flags = (uint8_t)flags };
    t->recorded = spans.on && (flags & 1);
    return true;
}

void trace_begin(struct call_trace *t, sl_str id)
{
    *t = (struct call_trace){ .id = id, .span = span_id_new() };
    t->recorded = spans.on && (random_next() >> 8) < spans.below;
    t->flags = t->recorded;
}

static char *put_hex(char *p, uint64_t v, int digits)
{
    for (int i = digits - 1; i >= 0; i--)
        *p++ = "0123456789abcdef"[v >> 4 * i & 15];
    return p;
}

sl_str trace_parent(const struct call_trace *t, char out[TRACEPARENT_TEXT])
{
    if (!t->id.p || t->id.n != 32) return sl_lit(NULL, 0);
    memcpy(out, "00-", 3);
    memcpy(out + 3, t->id.p, 32);
    out[35] = '-';
    char *p = put_hex(out + 36, t->span, 16);
    *p++ = '-';
    p = put_hex(p, t->flags & 1, 2);
    *p = 0;
    return sl_lit(out, 55);
}

/* ---- spans: fields of opentelemetry.proto.trace.v1.Span ---- */
static void add_id(buf *b, unsigned field, uint64_t id)
{
    char bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (char)(id >> 8 * (7 - i));
    pb_bytes(b, field, sl_lit(bytes, sizeof bytes));
}

/* A string of protocol buffers is UTF-8; what is cut is cut between characters. */
static sl_str fit(sl_str s)
{
    size_t n = s.n < TEXT_MAX ? s.n : TEXT_MAX;
    while (n < s.n && n > 0 && ((unsigned char)s.p[n] & 0xc0) == 0x80)
        n--;
    return str_is_utf8(sl_lit(s.p, n)) ? sl_lit(s.p, n) : SL("invalid");
}

static void add_attribute(buf *b, const struct span_attribute *a)
{
    size_t pair = pb_open(b, 9);
    pb_bytes(b, 1, sl_cstr(a->name));
    size_t value = pb_open(b, 2);
    if (!a->is_number) {
        pb_bytes(b, 1, fit(a->text));
    } else {
        pb_varint(b, 3 << 3); /* int_value; 0 is written too: it is a member of a oneof */
        pb_varint(b, (uint64_t)a->number);
    }
    pb_close(b, value);
    pb_close(b, pair);
}

static void encode(buf *b, const struct span_record *r, const char trace[16])
{
    size_t span = pb_open(b, 2);
    pb_bytes(b, 1, sl_lit(trace, 16));
    add_id(b, 2, r->id);
    if (r->parent) add_id(b, 4, r->parent);
    pb_bytes(b, 5, fit(r->name));
    pb_int(b, 6, (uint64_t)r->kind);
    pb_fixed64(b, 7, (uint64_t)r->start);
    pb_fixed64(b, 8, (uint64_t)(r->end > r->start ? r->end : r->start));
    for (size_t i = 0; i < r->n; i++)
        if (r->attributes[i].is_number || r->attributes[i].text.p) add_attribute(b, &r->attributes[i]);
    if (r->error.p) {
        size_t status = pb_open(b, 15);
        if (r->error.n) pb_bytes(b, 2, fit(r->error));
        pb_int(b, 3, 2); /* STATUS_CODE_ERROR */
        pb_close(b, status);
    }
    pb_close(b, span);
}

void span_write(const struct span_record *r)
{
    char trace[16];
    if (!spans.on || !hex_decode(r->trace, trace, sizeof trace)) return;
    buf *b = &spans.waiting;
    size_t before = b->n;
    if (spans.n >= spans.cfg.max_spans) {
        spans.stats.dropped++;
        return;
    }
    encode(b, r, trace);
    if (b->overflow) {
        b->n = before;
        b->overflow = false;
        spans.stats.dropped++;
        return;
    }
    spans.stats.recorded++;
    if (++spans.n == spans.cfg.batch && spans.cfg.full) spans.cfg.full();
}

void span_open_recorded(struct span *s, call *c)
{
    *s = (struct span){ .c = c, .id = span_id_new(), .parent = c->trace.span, .start = span_now() };
    c->trace.span = s->id;
}

void span_close(struct span *s, enum span_kind kind, sl_str name, sl_str error, const struct span_attribute *attributes,
                size_t n)
{
    if (!s->c) return;
    s->c->trace.span = s->parent;
    span_write(&(struct span_record){ .trace = s->c->trace.id,
                                      .id = s->id,
                                      .parent = s->parent,
                                      .start = s->start,
                                      .end = span_now(),
                                      .kind = kind,
                                      .name = name,
                                      .error = error,
                                      .attributes = attributes,
                                      .n = n });
    s->c = NULL;
}

/* ---- for the exporter ---- */
struct spans_stats spans_stats(void)
{
    spans.stats.waiting = spans.n;
    return spans.stats;
}

size_t spans_take(buf *out)
{
    size_t n = spans.n, max = spans.waiting.max;
    buf_free(out);
    *out = spans.waiting;
    buf_init(&spans.waiting, max);
    spans.n = 0;
    return n;
}

void spans_count_dropped(size_t n) { spans.stats.dropped += n; }
