/* pprof.c - writes call stacks with numbers as a profile that pprof reads. */
#include "observe/pprof.h"
#include "base/protobuf.h"
#include <stdlib.h>
#include <zlib.h>

enum { BODY_MAX = 64 << 20 };

/* Numbers given to things in the order in which they come: addresses to locations, names to strings. */
struct numbering {
    struct slot {
        uint64_t hash, number; /* number 0 = free */
        const char *text;      /* of a string */
    } * slots;
    size_t n, room;
};
struct pprof {
    symbols *symbols;
    struct pprof_about about;
    struct numbering locations, functions, strings;
    buf body, string_table;
};

static struct slot *slot_of(struct numbering *t, uint64_t hash, const char *text)
{
    size_t i = hash & (t->room - 1);
    while (t->slots[i].number && (t->slots[i].hash != hash || (text && strcmp(t->slots[i].text, text) != 0)))
        i = (i + 1) & (t->room - 1);
    return &t->slots[i];
}

static void grow(struct numbering *t)
{
    struct numbering old = *t;
    t->room = old.room ? old.room * 2 : 256;
    t->slots = calloc(t->room, sizeof *t->slots);
    if (!t->slots) abort();
    for (size_t i = 0; i < old.room; i++)
        if (old.slots[i].number) *slot_of(t, old.slots[i].hash, old.slots[i].text) = old.slots[i];
    free(old.slots);
}

/* Its number; *fresh when it was just given. text is kept by reference. */
static uint64_t number_of(struct numbering *t, uint64_t hash, const char *text, bool *fresh)
{
    if (2 * (t->n + 1) > t->room) grow(t);
    struct slot *s = slot_of(t, hash, text);
    *fresh = !s->number;
    if (*fresh) *s = (struct slot){ hash, ++t->n, text };
    return s->number;
}

/* Index in the string table, where "" is 0. */
static uint64_t string(pprof *p, const char *text)
{
    bool fresh;
    if (!text || !*text) return 0;
    uint64_t number = number_of(&p->strings, str_hash(sl_cstr(text)), text, &fresh);
    if (fresh) pb_bytes(&p->string_table, 6, sl_cstr(text));
    return number;
}

static void value_type(pprof *p, unsigned field, const struct pprof_value *v)
{
    size_t at = pb_open(&p->body, field);
    pb_int(&p->body, 1, string(p, v->type));
    pb_int(&p->body, 2, string(p, v->unit));
    pb_close(&p->body, at);
}

static void mappings(pprof *p)
{
    for (size_t i = 0; i < symbols_count(p->symbols); i++) {
        const struct object *o = symbols_object(p->symbols, i);
        size_t at = pb_open(&p->body, 3);
        pb_int(&p->body, 1, i + 1);
        pb_int(&p->body, 2, o->start);
        pb_int(&p->body, 3, o->end);
        pb_int(&p->body, 4, o->offset);
        pb_int(&p->body, 5, string(p, o->path));
        pb_int(&p->body, 6, string(p, o->build_id));
        pb_int(&p->body, 7, 1); /* has_functions: pprof need not look symbols up itself */
        pb_close(&p->body, at);
    }
}

pprof *pprof_new(const struct pprof_about *about)
{
    pprof *p = calloc(1, sizeof *p);
    if (!p) abort();
    p->about = *about;
    p->symbols = symbols_load(about->files, about->n_files);
    buf_init(&p->body, BODY_MAX);
    buf_init(&p->string_table, BODY_MAX);
    pb_bytes(&p->string_table, 6, SL(""));
    for (size_t i = 0; i < about->n_values; i++)
        value_type(p, 1, &about->values[i]);
    mappings(p);
    return p;
}

static uint64_t function(pprof *p, uintptr_t start, const char *name)
{
    bool fresh;
    uint64_t id = number_of(&p->functions, start, NULL, &fresh);
    if (!fresh) return id;
    size_t object = symbols_find(p->symbols, start), at = pb_open(&p->body, 5);
    pb_int(&p->body, 1, id);
    pb_int(&p->body, 2, string(p, name));
    pb_int(&p->body, 3, string(p, name));
    if (object < symbols_count(p->symbols)) pb_int(&p->body, 4, string(p, symbols_object(p->symbols, object)->path));
    pb_close(&p->body, at);
    return id;
}

static uint64_t location(pprof *p, uintptr_t address)
{
    bool fresh;
    uintptr_t start = 0;
    uint64_t id = number_of(&p->locations, address, NULL, &fresh);
    if (!fresh) return id;
    const char *name = symbols_name(p->symbols, address, &start);
    uint64_t called = name ? function(p, start, name) : 0;
    size_t object = symbols_find(p->symbols, address), at = pb_open(&p->body, 4);
    pb_int(&p->body, 1, id);
    if (object < symbols_count(p->symbols)) pb_int(&p->body, 2, object + 1);
    pb_int(&p->body, 3, address);
    if (called) {
        size_t line = pb_open(&p->body, 4);
        pb_int(&p->body, 1, called);
        pb_close(&p->body, line);
    }
    pb_close(&p->body, at);
    return id;
}

void pprof_add(pprof *p, const struct pprof_stack *stack, const int64_t *values)
{
    uint64_t ids[PPROF_DEPTH];
    for (uint32_t i = 0; i < stack->n; i++) /* a return address lies behind its call */
        ids[i] = location(p, (uintptr_t)stack->pc[i] - (i > 0));
    size_t sample = pb_open(&p->body, 2), list = pb_open(&p->body, 1);
    for (uint32_t i = 0; i < stack->n; i++)
        pb_varint(&p->body, ids[i]);
    pb_close(&p->body, list);
    list = pb_open(&p->body, 2);
    for (size_t i = 0; i < p->about.n_values; i++)
        pb_varint(&p->body, (uint64_t)values[i]);
    pb_close(&p->body, list);
    pb_close(&p->body, sample);
}

static bool compress_into(buf *out, const buf *in)
{
    z_stream z = { .next_in = (unsigned char *)in->p, .avail_in = (unsigned)in->n };
    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) return false;
    size_t bound = deflateBound(&z, in->n);
    char *room = buf_reserve(out, bound);
    z.next_out = (unsigned char *)room;
    z.avail_out = (unsigned)bound;
    bool good = room && deflate(&z, Z_FINISH) == Z_STREAM_END;
    if (good) out->n += z.total_out;
    deflateEnd(&z);
    return good;
}

bool pprof_end(pprof *p, buf *out)
{
    const struct pprof_about *a = &p->about;
    pb_int(&p->body, 9, (uint64_t)a->at);
    pb_int(&p->body, 10, (uint64_t)a->duration);
    if (a->period) value_type(p, 11, &a->period_of);
    pb_int(&p->body, 12, (uint64_t)a->period);
    buf_add_str(&p->body, buf_str(&p->string_table));
    bool good = !p->body.overflow && !p->string_table.overflow && compress_into(out, &p->body);
    free(p->locations.slots);
    free(p->functions.slots);
    free(p->strings.slots);
    buf_free(&p->body);
    buf_free(&p->string_table);
    symbols_free(p->symbols);
    free(p);
    return good;
}
