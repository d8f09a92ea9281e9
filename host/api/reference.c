/* reference.c - the API's description as a module linked in: the OpenAPI document and a page that shows it. */
#include "api/api.h"
#include "base/id.h"
#include "openapi/openapi.h"

/* reference.html as it is, with a NUL behind it. */
__asm__(".pushsection .rodata\n"
        "reference_page:\n"
        ".incbin \"host/api/reference.html\"\n"
        ".byte 0\n"
        ".popsection\n");
extern const char reference_page[];

static sl_err document(void *self, sl_call *c)
{
    const struct document *d = openapi_document();
    (void)self;
    if (d->text.overflow) return SL_ETOOBIG;
    sl_err e = sl_header(c, SL("ETag"), sl_cstr(d->etag));
    if (!e) e = sl_header(c, SL("Cache-Control"), SL("no-cache"));
    return e ? e : sl_reply_json(c, 200, buf_str(&d->text));
}

/* What stands between <name> and </name>, as a source of a Content-Security-Policy. */
static sl_str source_of(arena *a, sl_str page, const char *name)
{
    unsigned char hash[32];
    sl_str open = arena_printf(a, "<%s>", name), close = arena_printf(a, "</%s>", name);
    const char *from = memmem(page.p, page.n, open.p, open.n), *to = memmem(page.p, page.n, close.p, close.n);
    sha256(from && to ? sl_lit(from + open.n, (size_t)(to - from) - open.n) : SL(""), hash);
    return arena_printf(a, "'sha256-%.*s'", STR_ARG(base64_encode(a, sl_lit((char *)hash, sizeof hash))));
}

/* Nothing but the page's own script and style runs, it talks to this server only, and nobody may frame it. */
static sl_err page(void *self, sl_call *c)
{
    static char policy[400];
    arena *a = ((call *)c)->arena;
    sl_str text = sl_cstr(reference_page);
    (void)self;
    if (!policy[0]) {
        sl_str script = source_of(a, text, "script"), style = source_of(a, text, "style");
        (void)snprintf(policy, sizeof policy,
                       "default-src 'none'; script-src %.*s; style-src %.*s; connect-src 'self'; base-uri 'none'; "
                       "form-action 'none'; frame-ancestors 'none'",
                       STR_ARG(script), STR_ARG(style));
    }
    const sl_pair headers[] = { { SL("Content-Security-Policy"), sl_cstr(policy) },
                                { SL("X-Content-Type-Options"), SL("nosniff") },
                                { SL("Referrer-Policy"), SL("no-referrer") },
                                { SL("Cache-Control"), SL("no-cache") } };
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        sl_err e = sl_header(c, headers[i].name, headers[i].value);
        if (e) return e;
    }
    return sl_reply(c, 200, SL("text/html; charset=utf-8"), text);
}

static const sl_entry entries[] = {
    { SL_ROUTE, "GET /openapi.json", document, .out = "{\"type\":\"object\"}", .problems = "304",
      .doc = "This API as an OpenAPI 3.1 document, made from the tables of the modules that run." },
    { SL_ROUTE, "GET /reference", page, .out = SL_CONTENT("text/html"), .doc = "This API as a page for people." },
};
SL_LINKED_PLUGIN(openapi_plugin, "openapi", .doc = "What this API offers.", SL_ENTRIES(entries));
