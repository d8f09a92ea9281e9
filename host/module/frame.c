/* frame.c - the words between the host and a plugin's child process: length-prefixed frames of flat values,
 * bounds-checked. */
#include "module/frame.h"

enum { ABSENT = 0xffffffff };

size_t frame_begin(buf *b, enum frame_op op, uint32_t call)
{
    size_t start = b->n;
    unsigned char head[FRAME_HEAD] = { 0 };
    head[4] = (unsigned char)op;
    memcpy(head + 8, &call, 4);
    buf_add(b, head, sizeof head);
    return start;
}

bool frame_end(buf *b, size_t start)
{
    size_t n = b->n - start;
    if (b->overflow || n > FRAME_MAX || n < FRAME_HEAD) {
        b->overflow = false;
        b->n = start;
        return false;
    }
    uint32_t length = (uint32_t)(n - 4);
    memcpy(b->p + start, &length, 4);
    return true;
}

void put_u32(buf *b, uint32_t v) { buf_add(b, &v, sizeof v); }
void put_i64(buf *b, int64_t v) { buf_add(b, &v, sizeof v); }
void put_f64(buf *b, double v) { buf_add(b, &v, sizeof v); }

void put_str(buf *b, sl_str s)
{
    if (s.n >= ABSENT) b->overflow = true;
    put_u32(b, s.p ? (uint32_t)s.n : ABSENT);
    if (s.p) buf_add(b, s.p, s.n);
}

/* A count that the reader would refuse must not be sent. */
static void put_count(buf *b, size_t n, size_t max)
{
    if (n > max) b->overflow = true;
    put_u32(b, (uint32_t)n);
}

void put_pairs(buf *b, const sl_pair *p, size_t n)
{
    put_count(b, n, FRAME_ITEMS_MAX);
    for (size_t i = 0; i < n && !b->overflow; i++) {
        put_str(b, p[i].name);
        put_str(b, p[i].value);
    }
}

void put_strs(buf *b, const sl_str *s, size_t n)
{
    put_count(b, n, FRAME_ITEMS_MAX);
    for (size_t i = 0; i < n && !b->overflow; i++)
        put_str(b, s[i]);
}

static void put_value(buf *b, const sl_value *v)
{
    buf_add_char(b, (char)v->type);
    if (v->type == SL_INT)
        put_i64(b, v->i);
    else if (v->type == SL_REAL)
        put_f64(b, v->d);
    else if (v->type == SL_TEXT || v->type == SL_BLOB)
        put_str(b, v->s);
}

static void put_many(buf *b, const sl_value *v, size_t n, size_t max)
{
    put_count(b, n, max);
    for (size_t i = 0; i < n && !b->overflow; i++)
        put_value(b, &v[i]);
}

void put_values(buf *b, const sl_value *v, size_t n) { put_many(b, v, n, FRAME_ITEMS_MAX); }

void put_rows(buf *b, const sl_rows *r)
{
    put_u32(b, r != NULL);
    if (!r) return;
    put_u32(b, r->rows);
    put_i64(b, r->changed);
    put_strs(b, r->names, r->cols);
    put_many(b, r->cells, (size_t)r->rows * r->cols, FRAME_CELLS_MAX);
}

size_t frame_read(struct frame *f, sl_str bytes)
{
    uint32_t length;
    if (bytes.n < FRAME_HEAD) return 0;
    memcpy(&length, bytes.p, 4);
    uint8_t op = (uint8_t)bytes.p[4];
    if (length < FRAME_HEAD - 4 || length > FRAME_MAX - 4 || op == 0 || op >= FRAME_OPS || bytes.p[5] || bytes.p[6] ||
        bytes.p[7])
        return SIZE_MAX;
    if (bytes.n < (size_t)length + 4) return 0;
    f->op = op;
    memcpy(&f->call, bytes.p + 8, 4);
    f->at = bytes.p + FRAME_HEAD;
    f->end = bytes.p + 4 + length;
    f->bad = false;
    return (size_t)length + 4;
}

static bool take(struct frame *f, void *to, size_t n)
{
    if (f->bad || n > (size_t)(f->end - f->at)) {
        f->bad = true;
        memset(to, 0, n);
        return false;
    }
    memcpy(to, f->at, n);
    f->at += n;
    return true;
}

uint32_t get_u32(struct frame *f)
{
    uint32_t v;
    take(f, &v, sizeof v);
    return v;
}

int64_t get_i64(struct frame *f)
{
    int64_t v;
    take(f, &v, sizeof v);
    return v;
}

double get_f64(struct frame *f)
{
    double v;
    take(f, &v, sizeof v);
    return v;
}

sl_str get_str(struct frame *f)
{
    uint32_t n = get_u32(f);
    if (f->bad || n == ABSENT) return sl_lit(NULL, 0);
    if (n > (size_t)(f->end - f->at)) {
        f->bad = true;
        return sl_lit(NULL, 0);
    }
    sl_str s = sl_lit(f->at, n);
    f->at += n;
    return s;
}

/* How many items follow: no more than bytes are left for them, so that a small frame cannot ask for a large array. */
static size_t get_count(struct frame *f, size_t least, size_t max)
{
    uint32_t n = get_u32(f);
    if (n > max || (size_t)n * least > (size_t)(f->end - f->at)) f->bad = true;
    return f->bad ? 0 : n;
}

const sl_pair *get_pairs(struct frame *f, arena *a, size_t *n)
{
    *n = get_count(f, 8, FRAME_ITEMS_MAX);
    sl_pair *p = arena_alloc(a, (*n + 1) * sizeof *p);
    for (size_t i = 0; i < *n; i++) {
        p[i].name = get_str(f);
        p[i].value = get_str(f);
    }
    return p;
}

const sl_str *get_strs(struct frame *f, arena *a, size_t *n)
{
    *n = get_count(f, 4, FRAME_ITEMS_MAX);
    sl_str *s = arena_alloc(a, (*n + 1) * sizeof *s);
    for (size_t i = 0; i < *n; i++)
        s[i] = get_str(f);
    return s;
}

static sl_value get_value(struct frame *f)
{
    sl_value v;
    unsigned char type;
    memset(&v, 0, sizeof v);
    take(f, &type, 1);
    v.type = type;
    if (type == SL_INT)
        v.i = get_i64(f);
    else if (type == SL_REAL)
        v.d = get_f64(f);
    else if (type == SL_TEXT || type == SL_BLOB)
        v.s = get_str(f);
    else if (type != SL_NULL)
        f->bad = true;
    return v;
}

static const sl_value *get_many(struct frame *f, arena *a, size_t *n, size_t max)
{
    *n = get_count(f, 1, max);
    sl_value *v = arena_alloc(a, (*n + 1) * sizeof *v);
    for (size_t i = 0; i < *n; i++)
        v[i] = get_value(f);
    return v;
}

const sl_value *get_values(struct frame *f, arena *a, size_t *n) { return get_many(f, a, n, FRAME_ITEMS_MAX); }

const sl_rows *get_rows(struct frame *f, arena *a)
{
    size_t cols, cells;
    if (!get_u32(f)) return NULL;
    sl_rows *r = arena_alloc(a, sizeof *r);
    r->size = sizeof *r;
    r->rows = get_u32(f);
    r->changed = get_i64(f);
    r->names = get_strs(f, a, &cols);
    r->cols = (uint32_t)cols;
    r->cells = get_many(f, a, &cells, FRAME_CELLS_MAX);
    if ((uint64_t)r->rows * cols != cells) f->bad = true;
    return f->bad ? NULL : r;
}

struct frame frame_keep(const struct frame *f, buf *to)
{
    struct frame kept = *f;
    buf_clear(to);
    buf_add(to, f->at, (size_t)(f->end - f->at));
    kept.at = to->n ? to->p : "";
    kept.end = kept.at + to->n;
    kept.bad = f->bad || to->overflow;
    return kept;
}

bool frame_done(const struct frame *f) { return !f->bad && f->at == f->end; }
