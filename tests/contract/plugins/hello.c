/* hello.c - the smallest plugin: one public route. */
#include <service_layer/plugin.h>

static sl_err hello(void *self, sl_call *c)
{
    (void)self;
    return sl_reply_json(c, 200, SL("{\"hello\":\"world\"}"));
}

static const sl_entry entries[] = {
    { SL_ROUTE, "GET /hello", hello, .doc = "Say hello." },
};
SL_PLUGIN("hello", "1.0.0", .doc = "The smallest plugin.", SL_ENTRIES(entries));
