/* reference.c - the API's description as a module linked in: the OpenAPI document and a page that shows it. */
#include "api/api.h"
#include "http/openapi.h"

static sl_err document(void *self, sl_call *c)
{
    const struct document *d = openapi_document();
    (void)self;
    if (d->text.overflow) return SL_ETOOBIG;
    sl_err e = sl_header(c, SL("ETag"), sl_cstr(d->etag));
    if (!e) e = sl_header(c, SL("Cache-Control"), SL("no-cache"));
    return e ? e : sl_reply_json(c, 200, buf_str(&d->text));
}

static const sl_entry entries[] = {
    { SL_ROUTE, "GET /openapi.json", document, .out = "{\"type\":\"object\"}", .problems = "304",
      .doc = "This API as an OpenAPI 3.1 document, made from the tables of the modules that run." },
};
SL_LINKED_PLUGIN(openapi_plugin, "openapi", .doc = "What this API offers.", SL_ENTRIES(entries));
