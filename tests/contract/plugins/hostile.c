/* hostile.c - a plugin that passes arguments which no plugin should pass; the host must refuse them and live. */
#include "answers.h"

static sl_err hostile(void *self, sl_call *c)
{
    const sl_core *k = c->host->core;
    const sl_rows *rows;
    const sl_value wild = { .type = 77 }, nothing = { .type = SL_TEXT, .s = { NULL, 5 } },
                   bytes = sl_text(SL("\xff\xfe"));
    const sl_str bad = { NULL, 1000 };
    sl_call stranger = { c->host };
    (void)self;
    sl_json j = start(c);
    sl_json_text(&j, "input", k->input(c, SL_IN_BODY, bad));
    sl_json_text(&j, "input_null", k->input(NULL, SL_IN_BODY, SL("x")));
    put_code(&j, "header", k->header(c, bad, bad));
    put_code(&j, "reply_status", k->reply(c, 17, SL("text/plain"), SL("x")));
    put_code(&j, "reply_body", k->reply(c, 200, SL("text/plain"), bad));
    put_code(&j, "reply_type", k->reply(c, 200, SL("text/plain\r\nX: y"), SL("x")));
    put_code(&j, "reply_row", k->reply_row(c, 200, NULL));
    put_code(&j, "write", k->write(c, SL("x")));
    sl_json_bool(&j, "stranger", k->alloc(&stranger, 10) == NULL);
    put_code(&j, "stranger_sleep", k->sleep(&stranger, 1));
    put_code(&j, "offload", k->offload(c, NULL, NULL));
    sl_json_text(&j, "json", k->json(c, bad, SL("/a")));
    put_code(&j, "sql_null", c->host->store->query(c, &rows, bad, NULL, 0));
    put_code(&j, "sql_args", c->host->store->query(c, &rows, SL("select $1"), NULL, 3));
    put_code(&j, "sql_type", c->host->store->query(c, &rows, SL("select $1"), &wild, 1));
    put_code(&j, "sql_text", c->host->store->query(c, &rows, SL("select $1"), &nothing, 1));
    put_code(&j, "sql_utf8", c->host->store->query(c, &rows, SL("select $1"), &bytes, 1));
    put_code(&j, "sql_syntax", sl_query(c, &rows, "select 1 +"));
    put_code(&j, "sql_denied", sl_query(c, &rows, "begin"));
    put_code(&j, "lock", c->host->store->lock(c, bad));
    put_code(&j, "publish", c->host->bus->publish(c, bad, bad, bad));
    put_code(&j, "ask", c->host->bus->ask(c, bad, bad, 0, NULL));
    put_code(&j, "enqueue", c->host->jobs->enqueue(c, NULL));
    put_code(&j, "cancel", c->host->jobs->cancel(c, bad, bad));
    put_code(&j, "fetch", c->host->http->fetch(c, NULL, NULL));
    k->log(c, 77, bad, NULL, 1000);
    k->log(c, SL_INFO, SL("hostile"), NULL, 5);
    k->random(NULL, 10);
    c->host->metrics->add(c, 4000000000u, 1, NULL, 7);
    return finish(c, &j);
}

static const sl_entry entries[] = {
    { SL_ROUTE, "GET /hostile", hostile, .doc = "Arguments that no plugin should pass." },
};
static const sl_metric metrics[] = { { SL_COUNTER, "hostile_total", "Nothing.", NULL } };
static const sl_need needs[] = {
    { "sl.store", 1, 0 }, { "sl.bus", 1, 0 }, { "sl.jobs", 1, 0 }, { "sl.http", 1, 0 }, { "sl.metrics", 1, 0 }
};
SL_PLUGIN("hostile", "1.0.0", .doc = "Passes what it should not.", SL_ENTRIES(entries), SL_METRICS(metrics),
          SL_NEEDS(needs), .grants = "store:* publish:* ask:* net:*");
