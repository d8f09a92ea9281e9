/* answer.c - what an answer means: success, worth another try, or final; and one outcome out of several. */
#include "aggregate.h"
#include "jsonpath.h"
#include "jsontext.h"
#include "oracle.h"
#include <stdlib.h>
#include <strings.h>

void attempt_fail(struct attempt *a, enum outcome outcome, const char *code, const char *result_code, sl_str sentence)
{
    a->outcome = outcome;
    a->code = code;
    a->result_code = result_code;
    a->error = sentence.p ? sentence : SL("The attempt failed.");
    a->result = sl_lit(NULL, 0);
}

void result_take(sl_call *c, const struct oracle *o, sl_str text, sl_str filter, struct attempt *a)
{
    if (text.n > o->result_max) {
        attempt_fail(a, ATTEMPT_FAILED, "response_too_large", "response_too_large",
                     sl_format(c, "The answer is larger than the limit result_max_bytes, %zu bytes.", o->result_max));
        return;
    }
    if (!text_is_utf8(text)) {
        attempt_fail(a, ATTEMPT_FAILED, "result_not_text", "error", SL("The answer is not UTF-8 text."));
        return;
    }
    a->outcome = ATTEMPT_OK;
    a->result = text.p ? text : SL("");
    if (!sl_given(filter)) return;
    char *filtered = NULL;
    size_t n = 0;
    const char *wrong = jsonpath_filter(text, filter, o->result_max, &filtered, &n);
    if (wrong) {
        attempt_fail(a, ATTEMPT_FAILED, "filter_failed", "error",
                     sl_format(c, "The filter cannot be applied to the answer. %s", wrong));
        return;
    }
    a->result = sl_format(c, "%.*s", (int)n, filtered);
    free(filtered);
    if (!sl_given(a->result))
        attempt_fail(a, ATTEMPT_RETRY, "no_memory", "error", SL("There is no memory for the result."));
}

/* "application/json; charset=utf-8" is allowed by "application/json", "application/ld+json" by "+json". No type:
 * allowed. */
static int type_allowed(const struct oracle *o, sl_str type)
{
    size_t n = 0;
    while (n < type.n && type.p[n] != ';' && type.p[n] != ' ')
        n++;
    if (n == 0) return 1;
    for (size_t i = 0; i < o->n_types; i++) {
        sl_str allowed = o->types[i];
        if (allowed.n && allowed.p[0] == '+' && n > allowed.n &&
            strncasecmp(type.p + n - allowed.n, allowed.p, allowed.n) == 0)
            return 1;
        if (allowed.n == n && strncasecmp(type.p, allowed.p, n) == 0) return 1;
        if (sl_is(allowed, "*/*")) return 1;
    }
    return 0;
}

static const struct {
    const char *class, *code, *result_code;
    enum outcome outcome;
} network[] = {
    { "timeout", "timeout", "timeout", ATTEMPT_RETRY },
    { "dns", "dns", "not_found", ATTEMPT_RETRY },
    { "connect", "connect", "error", ATTEMPT_RETRY },
    { "tls", "tls", "error", ATTEMPT_RETRY },
    { "blocked", "address_blocked", "forbidden", ATTEMPT_FAILED },
    { "too_large", "response_too_large", "response_too_large", ATTEMPT_FAILED },
    { "redirect", "redirect", "error", ATTEMPT_FAILED },
    { "protocol", "protocol", "error", ATTEMPT_RETRY },
};

static void judge_network(sl_call *c, const struct oracle *o, sl_err e, const sl_response *r,
                          const struct outgoing *out, struct attempt *a)
{
    sl_str sentence = r && sl_given(r->error) ? outgoing_redact(c, out, r->error)
                                              : SL("No answer came from the source.");
    if (e == SL_EINVAL) {
        attempt_fail(a, ATTEMPT_FAILED, "request_malformed", "protocol_not_supported", sentence);
        return;
    }
    sl_str class = r ? r->error_class : sl_lit(NULL, 0);
    if (!sl_given(class))
        class = e == SL_ETIME     ? SL("timeout")
                : e == SL_ETOOBIG ? SL("too_large")
                : e == SL_EDENIED ? SL("blocked")
                                  : SL("connect");
    if (sl_is(class, "too_large"))
        sentence = sl_format(c, "The answer is larger than the limit result_max_bytes, %zu bytes.", o->result_max);
    a->error_class = class;
    for (size_t i = 0; i < sizeof network / sizeof *network; i++)
        if (sl_is(class, network[i].class)) {
            attempt_fail(a, network[i].outcome, network[i].code, network[i].result_code, sentence);
            return;
        }
    attempt_fail(a, ATTEMPT_RETRY, "network", "error", sentence);
}

/* "The source answered 403: ..." with the start of what it said, without secrets. */
static sl_str said(sl_call *c, const sl_response *r, const struct outgoing *out)
{
    enum { SHOWN = 200 };
    sl_str body = r->body;
    if (body.n == 0 || !text_is_utf8(body)) return sl_format(c, "The source answered status %d.", (int)r->status);
    body = outgoing_redact(c, out, body);
    if (body.n > SHOWN)
        for (body.n = SHOWN; body.n && ((unsigned char)body.p[body.n] & 0xc0) == 0x80;)
            body.n--;
    return sl_format(c, "The source answered status %d: %.*s", (int)r->status, (int)body.n, body.p);
}

static void judge_status(sl_call *c, const sl_response *r, const struct outgoing *out, struct attempt *a)
{
    static const struct {
        int status;
        const char *result_code;
    } codes[] = { { 401, "forbidden" }, { 403, "forbidden" }, { 404, "not_found" },
                  { 410, "not_found" }, { 408, "timeout" },   { 504, "timeout" } };
    const char *result_code = "error";
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (codes[i].status == r->status) result_code = codes[i].result_code;
    int again = r->status == 429 || r->status == 408 || r->status >= 500;
    a->error_class = SL("status");
    attempt_fail(a, again ? ATTEMPT_RETRY : ATTEMPT_FAILED, "source_status", result_code, said(c, r, out));
    for (uint64_t i = 0; again && i < r->n_headers; i++)
        if (r->headers[i].name.n == 11 && strncasecmp(r->headers[i].name.p, "retry-after", 11) == 0) {
            int64_t s = sl_to_int(r->headers[i].value, 0);
            a->wait_us = s > 0 ? (s < 3600 ? s : 3600) * 1000000 : 0;
        }
}

void answer_judge(sl_call *c, const struct oracle *o, sl_err e, const sl_response *r, const struct outgoing *out,
                  sl_str filter, struct attempt *a)
{
    a->recorded = 1;
    if (r) {
        a->status = r->status;
        a->address = r->address;
        a->content_type = text_is_utf8(r->type) ? r->type : sl_lit(NULL, 0);
        a->bytes = (int64_t)r->body.n;
        a->ms = r->elapsed_ms;
    }
    if (e || !r)
        judge_network(c, o, e, r, out, a);
    else if (r->status < 200 || r->status > 299)
        judge_status(c, r, out, a);
    else if (!type_allowed(o, r->type)) {
        a->error_class = SL("content_type");
        attempt_fail(a, ATTEMPT_FAILED, "content_type_not_supported", "content_type_not_supported",
                     sl_format(c, "The source answered with content type %.*s, which content_types does not allow.",
                               (int)(r->type.n < 80 ? r->type.n : 80), r->type.p));
    } else
        result_take(c, o, r->body, filter, a);
    if (a->outcome != ATTEMPT_OK && !sl_given(a->error_class)) a->error_class = SL("result");
}

static struct attempt disagreement(const char *code, const char *sentence)
{
    struct attempt a = { .outcome = ATTEMPT_RETRY };
    attempt_fail(&a, ATTEMPT_RETRY, code, "consensus_unreachable", sl_cstr(sentence));
    return a;
}

/* None went well: worth another try when one of them is; the rest is the first source's. */
static struct attempt all_failed(const struct attempt *a, size_t n)
{
    struct attempt end = a[0];
    for (size_t i = 0; i < n; i++) {
        if (a[i].outcome == ATTEMPT_RETRY) end.outcome = ATTEMPT_RETRY;
        if (a[i].wait_us > end.wait_us) end.wait_us = a[i].wait_us;
    }
    return end;
}

struct attempt attempts_join(sl_call *c, sl_str aggregation, const struct attempt *a, size_t n)
{
    sl_str good[SOURCES_MAX], numbers[SOURCES_MAX];
    size_t n_good = 0, n_numbers = 0, first = 0;
    char median[DECIMAL_MAX];
    for (size_t i = n; i-- > 0;)
        if (a[i].outcome == ATTEMPT_OK) {
            first = i;
            good[n_good++] = a[i].result;
            if (decimal_readable(a[i].result)) numbers[n_numbers++] = a[i].result;
        }
    if (n_good == 0) return all_failed(a, n);
    struct attempt end = a[first];
    if (sl_is(aggregation, "median")) {
        size_t length = decimal_median(numbers, n_numbers, median);
        if (length == 0) return disagreement("no_numbers", "No source answered with a number, so there is no median.");
        end.result = sl_format(c, "%s", median);
    } else if (sl_is(aggregation, "majority")) {
        int most = majority(good, n_good);
        if (most < 0)
            return disagreement("no_majority", "No result is that of more than half of the sources that answered.");
        end.result = good[most];
    }
    return end;
}
