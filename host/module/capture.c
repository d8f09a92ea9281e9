/* capture.c - calls whose answer stays in memory: questions of other plugins, lifecycle steps, health checks. */
#include "module/private.h"

struct capture *capture_of(call *c) { return c->ops == &capture_ops ? c->context : NULL; }

sl_str capture_fact(call *c, const char *name)
{
    return c->ops && c->ops->input ? c->ops->input(c, SL_IN_FACT, sl_cstr(name)) : sl_lit(NULL, 0);
}

static sl_str input_body(call *c, struct capture *k, sl_str name)
{
    if (name.n == 0) return k->body;
    if (!k->fields && k->body.n > 0) {
        char why[160];
        k->fields = json_read(k->body, why, sizeof why);
    }
    if (!json_is_object(k->fields)) return sl_lit(NULL, 0);
    return json_plain(c->arena, json_object_getn(k->fields, name.p, name.n));
}

static sl_str input(call *c, uint32_t from, sl_str name)
{
    struct capture *k = c->context;
    if (from == SL_IN_BODY) return input_body(c, k, name);
    if (from == SL_IN_FACT)
        for (size_t i = 0; i < k->n_facts; i++)
            if (sl_same(k->facts[i].name, name)) return k->facts[i].value;
    return sl_lit(NULL, 0);
}

static sl_err reply(call *c, int32_t status, sl_str type, sl_str body)
{
    struct capture *k = c->context;
    k->status = status;
    k->type = arena_copy(c->arena, type);
    k->answer = arena_copy(c->arena, body);
    k->code = k->detail = sl_lit(NULL, 0);
    return SL_OK;
}

static sl_err header(call *c, sl_str name, sl_str value) /* nobody reads it; the same names are refused as on a route */
{
    (void)c, (void)name, (void)value;
    return SL_OK;
}

static sl_err write_piece(call *c, sl_str piece)
{
    (void)c, (void)piece;
    return SL_ESTATE;
}

static sl_err problem(call *c, int32_t status, sl_str code, sl_str detail)
{
    struct capture *k = c->context;
    k->status = status;
    k->code = arena_copy(c->arena, code);
    k->detail = arena_copy(c->arena, detail);
    k->answer = k->type = sl_lit(NULL, 0);
    return SL_EREPLIED;
}

const struct call_ops capture_ops = { input, reply, header, write_piece, problem };
