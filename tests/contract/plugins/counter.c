/* counter.c - keeps a number in memory only and hands it over: a lost or doubled update would show. */
#include <service_layer/json.h>
#include <stdlib.h>

struct counter {
    int64_t value;
};

static sl_err create(sl_call *c, void **self)
{
    (void)c;
    *self = calloc(1, sizeof(struct counter));
    return *self ? SL_OK : SL_EINTERNAL;
}

static void destroy(void *self) { free(self); }

static sl_err save(void *self, sl_call *c)
{
    return sl_reply(c, 200, SL("text/plain"), sl_format(c, "%lld", (long long)((struct counter *)self)->value));
}

static sl_err load(void *self, sl_call *c)
{
    sl_str config = sl_config(c, "refuse_state");
    if (sl_is(config, "true")) return sl_problem(c, 409, "refused", "The configuration says to refuse the state.");
    if (!sl_is(sl_fact(c, "state_version"), "3"))
        return sl_problem(c, 409, "version", "Not the version it was saved with.");
    ((struct counter *)self)->value = sl_to_int(sl_body(c, ""), -1);
    return SL_OK;
}

static sl_err reply(struct counter *k, sl_call *c, int32_t status)
{
    return sl_reply_json(c, status,
                         sl_format(c, "{\"message\":\"%s\",\"value\":%lld,\"generation\":%u}",
                                   status == 201 ? "counted" : "hello", (long long)k->value, c->host->generation));
}

static sl_err add(void *self, sl_call *c)
{
    struct counter *k = self;
    k->value++;
    return reply(k, c, 201);
}

/* Adds after a pause: calls are in flight when the state is handed over. */
static sl_err add_late(void *self, sl_call *c)
{
    struct counter *k = self;
    sl_err e = sl_sleep(c, 2);
    if (e) return e;
    k->value++;
    return reply(k, c, 201);
}

static sl_err show(void *self, sl_call *c) { return reply(self, c, 200); }

static sl_err total(void *self, sl_call *c)
{
    return sl_reply_json(c, 200, sl_format(c, "{\"value\":%lld}", (long long)((struct counter *)self)->value));
}

#define CONFIG SL_OBJECT(SL_OPTIONAL("refuse_state", SL_BOOLEAN SL_DEFAULT("false"), "Let a hand-over fail."))
static const sl_entry entries[] = {
    { SL_ROUTE, "POST /counter", add, .scope = "bench:write", .doc = "Add one." },
    { SL_ROUTE, "POST /counter/late", add_late, .scope = "bench:write", .doc = "Add one after a pause." },
    { SL_ROUTE, "GET /counter", show, .scope = "bench:read", .doc = "Show it." },
    { SL_COMPUTE, "counter.total", total, .doc = "The number, for other plugins." },
};
static const sl_need needs[] = { { "sl.core", 1, 0 } };
static const sl_lifecycle life = {
    .size = sizeof life, .state_version = 3, .create = create, .destroy = destroy, .save = save, .load = load
};
SL_PLUGIN("counter", "1.0.0", SL_ENTRIES(entries), SL_NEEDS(needs), .config = CONFIG, .lifecycle = &life,
          .doc = "A number that survives a reload.");
