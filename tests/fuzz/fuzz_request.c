/* fuzz_request.c - small texts of a client's request: Idempotency-Key, cursors, traceparent, Last-Event-ID, tenants. */
#include "../../host/http/idempotency.c"
#include "fuzz.h"

/* What is read as a cursor is written back as the same one, and is of no use on another list. */
static void cursor(arena *a, sl_str route, sl_str text)
{
    sl_str id, again, other = arena_printf(a, "%.*s/", STR_ARG(route));
    if (cursor_read(a, route, text, &id)) {
        sl_str written = cursor_make(a, route, id);
        if (!cursor_read(a, route, written, &again) || !sl_same(id, again)) abort();
        if (cursor_read(a, other, text, &again)) abort();
    }
    sl_str made = cursor_make(a, route, text);
    if (!sl_given(made)) return;
    bool plain = str_is_utf8(text) && !memchr(text.p, 0, text.n);
    if (cursor_read(a, route, made, &id) != plain || (plain && !sl_same(id, text))) abort();
}

/* What is handed on of a trace is taken by the next one, and is of the same trace. */
static void trace(sl_str text)
{
    struct call_trace t, next;
    char out[TRACEPARENT_TEXT];
    if (!trace_join(&t, text)) return;
    sl_str on = trace_parent(&t, out);
    if (on.n != TRACEPARENT_TEXT - 1 || !trace_join(&next, on) || !sl_same(t.id, next.id) || t.span != next.span)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static arena *a;
    sl_str whole = sl_lit(size ? (const char *)data : "", size), rest, first = fuzz_first(data, size, &rest);
    if (!a) a = arena_new(0);
    cursor(a, first, rest);
    cursor(a, SL("GET /accounts"), whole);
    if (key_ok(whole) && (memchr(whole.p, '\n', whole.n) || whole.n > KEY_MAX)) abort();
    trace(whole);
    if (id_valid(whole) && whole.n != ID_TEXT - 1) abort();
    if (!tenant_check(whole) && memchr(whole.p, ' ', whole.n)) abort();
    sl_str sql = page_sql(a, whole, 2, size % 2);
    if (sl_given(sql) && sql.n <= 20) abort();
    arena_reset(a);
    return 0;
}
