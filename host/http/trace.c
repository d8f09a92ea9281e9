/* trace.c - the names of a request: X-Request-Id, and the W3C trace context that it belongs to. */
#include "http/request.h"
#include <ctype.h>

/* A request id goes into logs and headers: ours replaces one that is long or odd. */
static bool sane_id(sl_str s)
{
    if (s.n == 0 || s.n > 128) return false;
    for (size_t i = 0; i < s.n; i++)
        if (!isalnum((unsigned char)s.p[i]) && !memchr("._-:+/=@", s.p[i], 8)) return false;
    return true;
}

static bool lower_hex(sl_str s)
{
    bool zero = true;
    for (size_t i = 0; i < s.n; i++) {
        if (!isdigit((unsigned char)s.p[i]) && !(s.p[i] >= 'a' && s.p[i] <= 'f')) return false;
        zero = zero && s.p[i] == '0';
    }
    return !zero;
}

/* W3C Trace Context, 3.2: version-traceid-parentid-flags; later versions may say more behind another dash. */
static bool trace_parse(sl_str s)
{
    if (s.n < 55 || s.p[2] != '-' || s.p[35] != '-' || s.p[52] != '-') return false;
    if (s.n > 55 && (sl_is(str_sub(s, 0, 2), "00") || s.p[55] != '-')) return false;
    sl_str version = str_sub(s, 0, 2), flags = str_sub(s, 53, 2);
    if (sl_is(version, "ff") || !(lower_hex(version) || sl_is(version, "00"))) return false;
    return lower_hex(str_sub(s, 3, 32)) && lower_hex(str_sub(s, 36, 16)) && (lower_hex(flags) || sl_is(flags, "00"));
}

/* A UUIDv7 without dashes is unique, and its right part is random as asked for. */
void trace_from_id(const char *id, char out[TRACE_TEXT])
{
    size_t n = 0;
    for (; *id; id++)
        if (*id != '-') out[n++] = *id;
    out[n] = 0;
}

void trace_read(struct request *rq)
{
    id_new(rq->id_text);
    rq->request_id = sane_id(rq->known.request_id) ? rq->known.request_id : sl_lit(rq->id_text, ID_TEXT - 1);
    if (sl_given(rq->known.traceparent) && trace_parse(rq->known.traceparent)) {
        rq->trace_id = str_sub(rq->known.traceparent, 3, 32);
        return;
    }
    rq->known.traceparent = sl_lit(NULL, 0);
    trace_from_id(rq->id_text, rq->trace_text);
    rq->trace_id = sl_lit(rq->trace_text, TRACE_TEXT - 1);
}

/* For requests that the handler sends on: this trace, with a span id of this request. */
sl_str trace_parent(struct request *rq, arena *a)
{
    const char *id = rq->id_text;
    sl_str flags = sl_given(rq->known.traceparent) ? str_sub(rq->known.traceparent, 53, 2) : SL("00");
    return arena_printf(a, "00-%.32s-%.4s%.12s-%.2s", rq->trace_id.p, id + 19, id + 24, flags.p);
}
