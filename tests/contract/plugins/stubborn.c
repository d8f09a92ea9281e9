/* stubborn.c - a plugin that crashes in create when it is told to, and refuses to stop and to be destroyed. */
#include <service_layer/plugin.h>
#include <stdlib.h>
#include <unistd.h>

static sl_err create(sl_call *c, void **self)
{
    *self = NULL;
    if (sl_is(sl_config(c, "crash"), "true")) abort();
    return SL_OK;
}

static sl_err stop(void *self, sl_call *c)
{
    (void)self, (void)c;
    sleep(300);
    return SL_OK;
}

static void destroy(void *self)
{
    (void)self;
    sleep(300);
}

static sl_err run(void *self, sl_call *c)
{
    (void)self;
    return sl_reply_json(c, 200, SL("{}"));
}

static const sl_entry entries[] = { { SL_ROUTE, "GET /stubborn", run, .doc = "Answers." } };
static const sl_lifecycle life = { .size = sizeof life, .create = create, .stop = stop, .destroy = destroy };
SL_PLUGIN("stubborn", "1.0.0", .doc = "Does not stop.", SL_ENTRIES(entries), .lifecycle = &life,
          .config = SL_OBJECT(SL_OPTIONAL("crash", SL_BOOLEAN SL_DEFAULT("false"), "Crash in create.")));
