/* NAME.c - keeps items for a tenant: replace this with what your service does. */
#include <service_layer/plugin.h>

#define ITEM_IN SL_OBJECT(SL_REQUIRED("name", SL_NAME, "Unique per tenant."))
#define ITEM                                                                                                           \
    SL_OBJECT(SL_REQUIRED("id", SL_ID, "Of the item."), SL_REQUIRED("name", SL_NAME, "Unique per tenant."),            \
              SL_REQUIRED("created_at", SL_TIME, "When it was made."))

static sl_err create_item(void *self, sl_call *c)
{
    const sl_rows *rows;
    (void)self;
    sl_err e = sl_query(c, &rows,
                        "insert into NAME_items (id, tenant, name, created_at) values ($1, $2, $3, $4) returning *",
                        sl_new_id(c), sl_fact(c, "tenant"), sl_body(c, "name"), sl_now(c));
    if (e == SL_ECONFLICT) return sl_problem(c, 409, "item_exists", "There is an item of this name.");
    return e ? e : sl_reply_row(c, 201, rows);
}

static sl_err list_items(void *self, sl_call *c)
{
    (void)self;
    return sl_reply_list(c, "select * from NAME_items where tenant = $1 {{page}}", sl_fact(c, "tenant"));
}

static sl_err get_item(void *self, sl_call *c)
{
    const sl_rows *rows;
    (void)self;
    sl_err e = sl_query(c, &rows, "select * from NAME_items where tenant = $1 and id = $2", sl_fact(c, "tenant"),
                        sl_path(c, "item"));
    return e ? e : sl_reply_row(c, 200, rows); /* no row: 404 */
}

static const sl_entry entries[] = {
    { SL_ROUTE, "POST /NAME/items", create_item, .scope = "NAME:write", .in = ITEM_IN, .out = ITEM, .status = 201,
      .doc = "Make an item." },
    { SL_ROUTE, "GET /NAME/items", list_items, .scope = "NAME:read", .out = ITEM, .flags = SL_LIST,
      .doc = "All items, newest first." },
    { SL_ROUTE, "GET /NAME/items/{item}", get_item, .scope = "NAME:read", .out = ITEM, .doc = "One item." },
};
static const sl_need needs[] = { { "sl.core", 1, 0 }, { "sl.store", 1, 0 } };
SL_PLUGIN("NAME", "0.1.0", SL_ENTRIES(entries), SL_NEEDS(needs), .doc = "Keeps items.", .grants = "store:NAME_*");
