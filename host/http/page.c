/* page.c - lists: newest first, a page at a time, by a cursor that stays right while rows are inserted. */
#include "http/render.h"
#include "http/request.h"

enum { CHECK = 8, ID_MAX = 256 };

/* A cursor is the last id seen behind a checksum over it and the route: opaque, and of no use on another list. It is no
 * secret and needs no key, as the statement's own conditions hold on every page. */
static void checksum(arena *a, sl_str route, sl_str id, char out[CHECK])
{
    unsigned char hash[32];
    sha256(arena_printf(a, "%.*s\n%.*s", STR_ARG(route), STR_ARG(id)), hash);
    memcpy(out, hash, CHECK);
}

sl_str cursor_make(arena *a, sl_str route, sl_str id)
{
    char text[CHECK + ID_MAX];
    if (id.n == 0 || id.n > ID_MAX) return sl_lit(NULL, 0);
    checksum(a, route, id, text);
    memcpy(text + CHECK, id.p, id.n);
    return base64url_encode(a, sl_lit(text, CHECK + id.n));
}

bool cursor_read(arena *a, sl_str route, sl_str cursor, sl_str *id)
{
    char check[CHECK];
    sl_str bytes;
    if (cursor.n > (CHECK + ID_MAX) * 4 / 3 + 2 || !base64_decode(a, cursor, &bytes) || bytes.n <= CHECK) return false;
    *id = str_sub(bytes, CHECK, bytes.n);
    if (!str_is_utf8(*id) || memchr(id->p, 0, id->n)) return false;
    checksum(a, route, *id, check);
    return memcmp(check, bytes.p, CHECK) == 0;
}

sl_str page_sql(arena *a, sl_str sql, size_t n_args, bool after)
{
    static const char mark[] = "{{page}}";
    const char *at = memmem(sql.p, sql.n, mark, sizeof mark - 1);
    char middle[96];
    if (!at) return sl_lit(NULL, 0);
    size_t before = (size_t)(at - sql.p), rest = sql.n - before - (sizeof mark - 1);
    int n = after ? snprintf(middle, sizeof middle, "and id < $%zu order by id desc limit $%zu", n_args + 1, n_args + 2)
                  : snprintf(middle, sizeof middle, "order by id desc limit $%zu", n_args + 1);
    char *p = arena_alloc(a, before + (size_t)n + rest + 1);
    memcpy(p, sql.p, before);
    memcpy(p + before, middle, (size_t)n);
    memcpy(p + before + (size_t)n, at + sizeof mark - 1, rest);
    return sl_lit(p, before + (size_t)n + rest);
}

static sl_err bad_parameter(call *c, const char *name, sl_str what)
{
    sl_err e = c->ops->problem(c, 422, SL("invalid_input"),
                               arena_printf(c->arena, "The query parameter `%s` %.*s.", name, STR_ARG(what)));
    struct request *rq = request_of(c);
    if (rq)
        rq->errors = arena_printf(c->arena, "[{\"pointer\":\"/query/%s\",\"detail\":\"%.*s\"}]", name, STR_ARG(what));
    return e;
}

struct page {
    int64_t limit;
    sl_str after;
};

static sl_err page_read(call *c, sl_str route, struct page *p)
{
    sl_str limit = c->ops->input(c, SL_IN_QUERY, SL("limit")), cursor = c->ops->input(c, SL_IN_QUERY, SL("cursor"));
    p->limit = (int64_t)http_cfg.page_default;
    p->after = sl_lit(NULL, 0);
    if (sl_given(limit) && (!str_to_int(limit, &p->limit) || p->limit < 1 || p->limit > (int64_t)http_cfg.page_max))
        return bad_parameter(c, "limit",
                             arena_printf(c->arena, "must be a whole number from 1 to %zu", http_cfg.page_max));
    if (cursor.n && !cursor_read(c->arena, route, cursor, &p->after))
        return bad_parameter(c, "cursor", SL("is not a cursor of this list"));
    return SL_OK;
}

/* The address of the next page: this one's, with the cursor put in (RFC 8288). */
static void add_link(call *c, struct request *rq, sl_str cursor)
{
    sl_str rest = rq->x->query, part;
    buf b;
    buf_init(&b, 16 << 10);
    buf_add_char(&b, '<');
    buf_add_str(&b, rq->x->path);
    buf_add_char(&b, '?');
    while (rest.n && str_split(&rest, '&', &part)) {
        if (!part.n || str_starts(part, "cursor=")) continue;
        buf_add_str(&b, part);
        buf_add_char(&b, '&');
    }
    buf_add_cstr(&b, "cursor=");
    buf_add_str(&b, cursor);
    buf_add_cstr(&b, ">; rel=\"next\"");
    if (!b.overflow) (void)c->ops->header(c, SL("Link"), buf_str(&b));
    buf_free(&b);
}

static sl_err render_page(buf *b, const json_t *schema, const sl_rows *rows, uint32_t n, sl_str next)
{
    const struct render_plan *plan;
    sl_err e = render_start(schema, rows, &plan);
    buf_add_cstr(b, "{\"items\":[");
    for (uint32_t i = 0; !e && i < n; i++) {
        if (i) buf_add_char(b, ',');
        e = render_one(b, plan, rows, i);
    }
    buf_add_cstr(b, "],\"next_cursor\":");
    json_add_string(b, next);
    buf_add_char(b, '}');
    return e;
}

static sl_err page_reply(call *c, const struct entry *e, sl_str route, const struct page *p, const sl_rows *rows)
{
    uint32_t n = rows->rows > (uint64_t)p->limit ? (uint32_t)p->limit : rows->rows;
    sl_str next = { NULL, 0 };
    if (rows->rows > n) {
        sl_value last = sl_cell(rows, n - 1, "id");
        next = last.type == SL_TEXT ? cursor_make(c->arena, route, last.s) : next;
        if (!sl_given(next)) {
            log_error("reply_list needs a text column `id` among its results", LOG_C("plugin", c->module),
                      LOG_C("entry", c->name));
            return SL_ESTATE;
        }
    }
    buf *b = reply_buffer(c);
    sl_err failed = render_page(b, e->out, rows, n, next);
    if (failed) return render_failed(c, failed);
    struct request *rq = request_of(c);
    if (rq && sl_given(next))
        add_link(c, rq, next); /* before the answer: a route that may stream sends its head then */
    return reply_done(c, b, 200);
}

sl_err http_reply_list(call *c, sl_str sql, const sl_value *args, size_t n)
{
    const struct entry *e = c->entry;
    sl_str route = sl_cstr(c->name);
    const sl_rows *rows;
    struct page p;
    if (!e || !e->out || n > 60) {
        log_error("reply_list needs an `out` schema, and at most 60 arguments", LOG_C("plugin", c->module),
                  LOG_C("entry", c->name));
        return SL_ESTATE;
    }
    sl_err failed = page_read(c, route, &p);
    if (failed) return failed;
    sl_str text = page_sql(c->arena, sql, n, sl_given(p.after));
    if (!sl_given(text)) {
        log_error("reply_list needs {{page}} in its statement", LOG_C("plugin", c->module), LOG_C("entry", c->name));
        return SL_ESTATE;
    }
    sl_value *all = arena_alloc(c->arena, (n + 2) * sizeof *all);
    if (n) memcpy(all, args, n * sizeof *all);
    if (sl_given(p.after)) all[n++] = sl_text(p.after);
    all[n++] = sl_int(p.limit + 1); /* one more tells whether there is a next page */
    failed = store_query(c, &rows, text, all, n);
    return failed ? failed : page_reply(c, e, route, &p, rows);
}
