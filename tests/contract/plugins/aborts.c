/* aborts.c - a plugin that ends its process while it is loaded. */
#include <service_layer/plugin.h>
#include <stdlib.h>

__attribute__((constructor)) static void at_load(void) { abort(); }

static sl_err never(void *self, sl_call *c)
{
    (void)self;
    return sl_reply_empty(c, 204);
}

static const sl_entry entries[] = { { SL_ROUTE, "GET /aborts", never, .doc = "Never runs." } };
SL_PLUGIN("aborts", "1.0.0", .doc = "Aborts in a constructor.", SL_ENTRIES(entries));
