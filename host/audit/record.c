/* record.c - one audit record: its texts made fit for anybody, its row, and its line up to the hash. */
#include "audit/private.h"

/* Bytes that are not printable UTF-8 become `?`: PostgreSQL, JSON and an operator's terminal all take the result. */
sl_str audit_clip(arena *a, sl_str s, size_t max)
{
    if (!s.p) return s;
    size_t n = s.n < max ? s.n : max;
    while (n < s.n && n > 0 && ((unsigned char)s.p[n] & 0xc0) == 0x80)
        n--; /* not inside a character */
    bool utf8 = str_is_utf8(sl_lit(s.p, n)), clean = utf8;
    for (size_t i = 0; i < n && clean; i++)
        clean = (unsigned char)s.p[i] >= ' ' && s.p[i] != 0x7f;
    if (clean) return sl_lit(s.p, n);
    char *out = arena_alloc(a, n + 1);
    for (size_t i = 0; i < n; i++) {
        unsigned char ch = (unsigned char)s.p[i];
        out[i] = ch < ' ' || ch == 0x7f || (ch >= 0x80 && !utf8) ? '?' : s.p[i];
    }
    return sl_lit(out, n);
}

/* A record without a value that its table wants would fail with others of its batch. */
static sl_value wanted(sl_str s) { return sl_text(s.p ? s : SL("")); }

sl_err audit_insert(call *c, const struct audit_record *r)
{
    const sl_value args[] = {
        sl_ctext(r->id),     sl_int(r->at),       wanted(r->user),
        wanted(r->role),     wanted(r->tenant),   wanted(r->method),
        sl_text(r->route),   wanted(r->target),   r->status ? sl_int(r->status) : sl_text(sl_lit(NULL, 0)),
        sl_text(r->code),    sl_text(r->outcome), wanted(r->request_id),
        wanted(r->trace_id), wanted(r->address),  sl_int(r->times)
    };
    if (store_one_writer()) return store_append(c, &audit_chain, args, sizeof args / sizeof *args);
    return store_defer(c,
                       SL("insert into sl_audit (" AUDIT_COLUMNS
                          ") values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"),
                       args, sizeof args / sizeof *args, 0);
}

/* ---- rows and lines ---- */
void audit_from_values(const sl_value *v, struct audit_record *r)
{
    memset(r, 0, sizeof *r);
    memcpy(r->id, v[0].s.p, v[0].s.n < sizeof r->id ? v[0].s.n : sizeof r->id - 1);
    r->at = v[1].i;
    r->user = v[2].s;
    r->role = v[3].s;
    r->tenant = v[4].s;
    r->method = v[5].s;
    r->route = v[6].s;
    r->target = v[7].s;
    r->status = v[8].type == SL_INT ? (int)v[8].i : 0;
    r->code = v[9].s;
    r->outcome = v[10].s;
    r->request_id = v[11].s;
    r->trace_id = v[12].s;
    r->address = v[13].s;
    r->times = v[14].i;
}

void audit_from_row(const sl_rows *rows, uint32_t i, struct audit_record *r)
{
    sl_str id = sl_cell_text(rows, i, "id");
    memset(r, 0, sizeof *r);
    memcpy(r->id, id.p ? id.p : "", id.n < sizeof r->id ? id.n : sizeof r->id - 1);
    r->at = sl_cell_int(rows, i, "at");
    r->status = (int)sl_cell_int(rows, i, "status");
    r->times = sl_cell_int(rows, i, "times");
    r->user = sl_cell_text(rows, i, "actor");
    r->role = sl_cell_text(rows, i, "role");
    r->tenant = sl_cell_text(rows, i, "tenant");
    r->method = sl_cell_text(rows, i, "method");
    r->route = sl_cell_text(rows, i, "route");
    r->target = sl_cell_text(rows, i, "target");
    r->code = sl_cell_text(rows, i, "code");
    r->outcome = sl_cell_text(rows, i, "outcome");
    r->request_id = sl_cell_text(rows, i, "request_id");
    r->trace_id = sl_cell_text(rows, i, "trace_id");
    r->address = sl_cell_text(rows, i, "address");
}

void audit_open_line(buf *b, const struct audit_record *r, uint64_t seq, const char *prev)
{
    buf_add_char(b, '{');
    json_field_int(b, "seq", (int64_t)seq);
    json_field_str(b, "prev", sl_cstr(prev));
    json_field_str(b, "id", sl_cstr(r->id));
    json_field_time(b, "at", r->at);
    json_field_str(b, "user", r->user);
    json_field_str(b, "role", r->role);
    json_field_str(b, "tenant", r->tenant);
    json_field_str(b, "method", r->method);
    json_field_str(b, "route", r->route);
    json_field_str(b, "target", r->target);
    if (r->status)
        json_field_int(b, "status", r->status);
    else
        json_field_raw(b, "status", SL("null"));
    json_field_str(b, "code", r->code);
    json_field_str(b, "outcome", r->outcome);
    json_field_str(b, "request_id", r->request_id);
    json_field_str(b, "trace_id", r->trace_id);
    json_field_str(b, "address", r->address);
    json_field_int(b, "count", r->times);
}

void audit_close_line(buf *b, const char *hash)
{
    json_field_str(b, "hash", sl_cstr(hash));
    buf_add_cstr(b, "}\n");
}
