/* span.c - spans of the W3C trace that a call is part of, encoded as they end, kept until they are exported. */
#include "observe/span.h"
#include "base/clock.h"
#include "base/id.h"

enum { TEXT_MAX = 1024, BYTES_A_SPAN = 1024, ATTRIBUTES_MAX = 16 };

static struct {
    bool on;
    struct spans_config cfg;
    uint64_t below; /* a new trace is recorded when 56 random bits are below this */
    buf waiting;
    size_t n;
    struct spans_stats stats;
    int64_t wall; /* wall clock minus the monotonic one, nanoseconds */
} spans;

/* The wall clock is read seldom: it can jump, and spans are told by the monotonic one anyway. */
static void set_clock(void) { spans.wall = clock_now() * 1000 - clock_monotonic(); }

int64_t span_wall(int64_t monotonic) { return monotonic + spans.wall; }

void spans_setup(const struct spans_config *cfg)
{
    spans.cfg = *cfg;
    spans.below = (uint64_t)(cfg->ratio * (double)(UINT64_C(1) << 56));
    buf_free(&spans.waiting);
    buf_init(&spans.waiting, cfg->max_spans * BYTES_A_SPAN);
    spans.n = 0;
    set_clock();
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

/* ---- trace context ---- */
/* Lower-case hex digits only; *value keeps the last 16. */
static bool hex_number(sl_str s, uint64_t *value, bool *zero)
{
    *value = 0;
    *zero = true;
    for (size_t i = 0; i < s.n; i++) {
        int d = s.p[i] >= 'A' && s.p[i] <= 'F' ? -1 : hex_digit(s.p[i]);
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

/* ---- spans: fields of opentelemetry.proto.trace.v1.Span ----
 * Written for each request, so without the checks of base/protobuf.h: the room is reserved at once. */
enum { SMALL = 24 }; /* at least what one field takes besides its bytes: two tags and lengths, or a number */

static char *put_number(char *p, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        *p++ = (char)(v | 0x80);
    *p++ = (char)v;
    return p;
}

static size_t number_size(uint64_t v)
{
    size_t n = 1;
    while (v >>= 7)
        n++;
    return n;
}

static char *put_text(char *p, unsigned field, sl_str s)
{
    *p++ = (char)(field << 3 | 2);
    p = put_number(p, s.n);
    if (s.n) memcpy(p, s.p, s.n);
    return p + s.n;
}

static char *put_fixed(char *p, unsigned field, uint64_t v)
{
    *p++ = (char)(field << 3 | 1);
    for (int i = 0; i < 8; i++)
        *p++ = (char)(v >> 8 * i);
    return p;
}

static char *put_id(char *p, unsigned field, uint64_t id)
{
    *p++ = (char)(field << 3 | 2);
    *p++ = 8;
    for (int i = 56; i >= 0; i -= 8)
        *p++ = (char)(id >> i);
    return p;
}

/* KeyValue { key = 1, AnyValue value = 2 { string_value = 1 | int_value = 3 } } */
static char *put_attribute(char *p, const struct span_attribute *a, sl_str text)
{
    size_t value = a->is_number ? 1 + number_size((uint64_t)a->number) : 1 + number_size(text.n) + text.n;
    *p++ = 9 << 3 | 2;
    p = put_number(p, 1 + number_size(a->name.n) + a->name.n + 1 + number_size(value) + value);
    p = put_text(p, 1, a->name);
    *p++ = 2 << 3 | 2;
    p = put_number(p, value);
    if (!a->is_number) return put_text(p, 1, text);
    *p++ = 3 << 3;
    return put_number(p, (uint64_t)a->number);
}

/* A string of protocol buffers is UTF-8; what is cut is cut between characters. */
static sl_str fit(sl_str s)
{
    size_t n = s.n < TEXT_MAX ? s.n : TEXT_MAX;
    while (n < s.n && n > 0 && ((unsigned char)s.p[n] & 0xc0) == 0x80)
        n--;
    return str_is_utf8(sl_lit(s.p, n)) ? sl_lit(s.p, n) : SL("invalid");
}

static char *put_span(char *p, const struct span_record *r, const char trace[16], const sl_str *texts)
{
    p = put_text(p, 1, sl_lit(trace, 16));
    p = put_id(p, 2, r->id);
    if (r->parent) p = put_id(p, 4, r->parent);
    p = put_text(p, 5, fit(r->name));
    *p++ = 6 << 3;
    *p++ = (char)r->kind;
    p = put_fixed(p, 7, (uint64_t)r->start);
    p = put_fixed(p, 8, (uint64_t)(r->end > r->start ? r->end : r->start));
    for (size_t i = 0; i < r->n; i++)
        if (r->attributes[i].is_number || texts[i].p) p = put_attribute(p, &r->attributes[i], texts[i]);
    if (!r->error.p) return p;
    sl_str error = fit(r->error);
    *p++ = 15 << 3 | 2;
    p = put_number(p, (error.n ? 1 + number_size(error.n) + error.n : 0) + 2);
    if (error.n) p = put_text(p, 2, error);
    *p++ = 3 << 3;
    *p++ = 2; /* STATUS_CODE_ERROR */
    return p;
}

static size_t room_for(const struct span_record *r, sl_str *texts)
{
    size_t room = 256 + (r->name.n < TEXT_MAX ? r->name.n : TEXT_MAX) + (r->error.n < TEXT_MAX ? r->error.n : TEXT_MAX);
    for (size_t i = 0; i < r->n; i++) {
        texts[i] = !r->attributes[i].is_number && r->attributes[i].text.p ? fit(r->attributes[i].text)
                                                                          : sl_lit(NULL, 0);
        room += SMALL + r->attributes[i].name.n + texts[i].n;
    }
    return room;
}

/* Its length stands before it: two bytes are kept for that, as nearly all spans need, and a longer one is moved. */
static bool encode(buf *b, const struct span_record *r, const char trace[16])
{
    sl_str texts[ATTRIBUTES_MAX];
    char *start = buf_reserve(b, room_for(r, texts));
    if (!start) return false;
    char *body = start + 3;
    size_t n = (size_t)(put_span(body, r, trace, texts) - body), size = number_size(n);
    if (size != 2) memmove(start + 1 + size, body, n);
    *start = 2 << 3 | 2;
    put_number(start + 1, n);
    b->n += 1 + size + n;
    return true;
}

static bool trace_bytes(sl_str hex, char out[16])
{
    if (hex.n != 32) return false;
    for (size_t i = 0; i < 16; i++) { /* they are hex digits: the low bits tell, and letters stand 9 further */
        unsigned high = (unsigned char)hex.p[2 * i], low = (unsigned char)hex.p[2 * i + 1];
        out[i] = (char)(((high & 15) + 9 * (high >> 6)) << 4 | ((low & 15) + 9 * (low >> 6)));
    }
    return true;
}

void span_write(const struct span_record *r)
{
    char trace[16];
    if (!spans.on || !trace_bytes(r->trace, trace) || r->n > ATTRIBUTES_MAX) return;
    if (spans.n >= spans.cfg.max_spans || !encode(&spans.waiting, r, trace)) {
        spans.waiting.overflow = false;
        spans.stats.dropped++;
        return;
    }
    spans.stats.recorded++;
    if (++spans.n == spans.cfg.batch && spans.cfg.full) spans.cfg.full();
}

void span_open_recorded(struct span *s, call *c)
{
    *s = (struct span){ .c = c, .id = span_id_new(), .parent = c->trace.span, .start = clock_monotonic() };
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
                                      .start = span_wall(s->start),
                                      .end = span_wall(clock_monotonic()),
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
    size_t n = spans.n;
    buf taken = spans.waiting;
    out->max = taken.max;
    buf_clear(out);
    spans.waiting = *out;
    *out = taken;
    spans.n = 0;
    set_clock();
    return n;
}

void spans_count_dropped(size_t n) { spans.stats.dropped += n; }
