/* postgres_value.c - values and errors of PostgreSQL: parameters to the wire, results to rows, SQLSTATE to our codes.
 */
#include "store/postgres.h"
#include <endian.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Object ids of the types in pg_type.dat that are more than text to us. */
enum {
    BOOL_OID = 16,
    BYTEA_OID = 17,
    INT8_OID = 20,
    INT2_OID = 21,
    INT4_OID = 23,
    OID_OID = 26,
    FLOAT4_OID = 700,
    FLOAT8_OID = 701,
    TEXT_OID = 25,
    BYTEA_ARRAY_OID = 1001,
    TEXT_ARRAY_OID = 1009,
    INT8_ARRAY_OID = 1016,
    FLOAT8_ARRAY_OID = 1022,
    NUMERIC_OID = 1700
};
enum { ARGS_MAX = 65535 - 1, SCRATCH_KEEP = 1 << 20 };

/* libpq copies parameters while it is called, so one room for all statements is enough. */
static struct {
    struct pg_params p;
    size_t room;
    char *bytes;
    size_t bytes_room;
} scratch;

sl_err pg_check_args(call *c, const sl_value *args, size_t n)
{
    if (n > ARGS_MAX) return store_fail(c, SL_EINVAL, "%zu parameters; a statement takes at most %d", n, ARGS_MAX);
    for (size_t i = 0; i < n; i++) {
        if (args[i].type > SL_BLOB) return store_fail(c, SL_EINVAL, "parameter $%zu has no valid type", i + 1);
        if (args[i].type == SL_TEXT && args[i].s.p && memchr(args[i].s.p, 0, args[i].s.n))
            return store_fail(c, SL_EINVAL, "parameter $%zu is text with a zero byte in it", i + 1);
        if (args[i].type >= SL_TEXT && args[i].s.n > INT32_MAX / 2)
            return store_fail(c, SL_ETOOBIG, "parameter $%zu has more than %d bytes", i + 1, INT32_MAX / 2);
    }
    return SL_OK;
}

static void *grow(void *p, size_t n, size_t size)
{
    p = reallocarray(p, n, size);
    if (!p) abort();
    return p;
}

static void scratch_reserve(size_t n, size_t bytes)
{
    if (n > scratch.room) {
        scratch.p.types = grow(scratch.p.types, n, sizeof *scratch.p.types);
        scratch.p.values = grow(scratch.p.values, n, sizeof *scratch.p.values);
        scratch.p.lengths = grow(scratch.p.lengths, n, sizeof *scratch.p.lengths);
        scratch.p.formats = grow(scratch.p.formats, n, sizeof *scratch.p.formats);
        scratch.room = n;
    }
    if (bytes > scratch.bytes_room || scratch.bytes_room > SCRATCH_KEEP) {
        free(scratch.bytes);
        scratch.bytes_room = bytes < 4096 ? 4096 : bytes;
        scratch.bytes = grow(NULL, scratch.bytes_room, 1);
    }
}

Oid pg_type(uint8_t type)
{
    static const Oid oids[] = {
        [SL_INT] = INT8_OID, [SL_REAL] = FLOAT8_OID, [SL_TEXT] = TEXT_OID, [SL_BLOB] = BYTEA_OID
    };
    return oids[type];
}

static Oid array_type(uint64_t type)
{
    static const Oid oids[] = {
        [SL_INT] = INT8_ARRAY_OID, [SL_REAL] = FLOAT8_ARRAY_OID, [SL_TEXT] = TEXT_ARRAY_OID, [SL_BLOB] = BYTEA_ARRAY_OID
    };
    return oids[type & (PG_ARRAY - 1)];
}

/* Numbers travel as 8 bytes in network order, bytes as they are, text with a NUL behind it for the server to interpret.
 */
static void put(int i, const sl_value *v, char **at)
{
    Oid type = 0;
    int format = 1, length = 8;
    const char *value = *at;
    if (v->type == SL_INT || v->type == SL_REAL) {
        uint64_t bits;
        memcpy(&bits, v->type == SL_INT ? (const void *)&v->i : (const void *)&v->d, 8);
        bits = htobe64(bits);
        memcpy(*at, &bits, 8);
        *at += 8;
        type = v->type == SL_INT ? INT8_OID : FLOAT8_OID;
    } else if (v->type & PG_ARRAY) {
        type = array_type(v->type);
        value = v->s.p;
        length = (int)v->s.n;
    } else if (v->type == SL_NULL || !v->s.p) {
        value = NULL;
        length = 0;
        type = v->type == SL_BLOB ? BYTEA_OID : 0;
        format = 0;
    } else if (v->type == SL_BLOB) {
        type = BYTEA_OID;
        value = v->s.p;
        length = (int)v->s.n;
    } else {
        memcpy(*at, v->s.p, v->s.n);
        (*at)[v->s.n] = 0;
        *at += v->s.n + 1;
        length = (int)v->s.n;
        format = 0;
    }
    scratch.p.types[i] = type;
    scratch.p.values[i] = value;
    scratch.p.lengths[i] = length;
    scratch.p.formats[i] = format;
}

const struct pg_params *pg_params(const sl_value *args, size_t n, int64_t count)
{
    size_t bytes = 8;
    for (size_t i = 0; i < n; i++)
        bytes += args[i].type == SL_TEXT ? args[i].s.n + 1 : 8;
    scratch_reserve(n + 1, bytes);
    char *at = scratch.bytes;
    for (size_t i = 0; i < n; i++)
        put((int)i, &args[i], &at);
    scratch.p.n = (int)n;
    if (count >= 0) put(scratch.p.n++, &(sl_value){ .type = SL_INT, .i = count }, &at);
    return &scratch.p;
}

/* SQLSTATE classes: appendix A of the PostgreSQL manual. */
sl_err pg_error(const char *s)
{
    static const struct {
        const char *prefix;
        sl_err e;
    } map[] = {
        { "23505", SL_ECONFLICT }, { "23P01", SL_ECONFLICT }, { "23503", SL_ENOENT }, { "23", SL_EINVAL },
        { "22", SL_EINVAL },       { "42501", SL_EDENIED },   { "42", SL_EINVAL },    { "0A000", SL_EINVAL },
        { "40001", SL_EUNAVAIL },  { "40P01", SL_EUNAVAIL },  { "57014", SL_ETIME },  { "55P03", SL_ETIME },
        { "53", SL_EUNAVAIL },     { "57P", SL_EUNAVAIL },    { "08", SL_EUNAVAIL },  { "25006", SL_EUNAVAIL },
        { "54", SL_ETOOBIG },      { "28", SL_EUNAVAIL },
    };
    for (size_t i = 0; i < sizeof map / sizeof *map; i++)
        if (!strncmp(s, map[i].prefix, strlen(map[i].prefix))) return map[i].e;
    return SL_EINTERNAL;
}

static int nibble(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; }

/* bytea_output is "hex" unless an operator chose "escape"; libpq reads that one. */
static sl_str read_bytea(struct rows_builder *b, const char *text, size_t n)
{
    if (n < 2 || text[0] != '\\' || text[1] != 'x') {
        size_t got = 0;
        unsigned char *plain = PQunescapeBytea((const unsigned char *)text, &got);
        sl_str s = rows_bytes(b, plain ? (const char *)plain : "", got);
        PQfreemem(plain);
        return s;
    }
    sl_str s = rows_bytes(b, text + 2, (n - 2) / 2); /* the room; the content follows */
    unsigned char *out = (unsigned char *)s.p;
    if (b->failed || !out) return s;
    for (size_t i = 0; i < s.n; i++)
        out[i] = (unsigned char)(nibble(text[2 + 2 * i]) << 4 | nibble(text[3 + 2 * i]));
    return s;
}

/* numeric comes from sum(bigint) and the like: an integer where it is one, else the nearest double. */
static sl_value read_numeric(const char *text, size_t n)
{
    int64_t i;
    if (str_to_int(sl_lit(text, n), &i)) return (sl_value){ .type = SL_INT, .i = i };
    double d = strtod(text, NULL);
    const char *dot = strchr(text, '.');
    if (dot && strspn(dot + 1, "0") == n - (size_t)(dot + 1 - text) &&
        str_to_int(sl_lit(text, (size_t)(dot - text)), &i))
        return (sl_value){ .type = SL_INT, .i = i };
    return (sl_value){ .type = SL_REAL, .d = d };
}

static sl_value read_value(struct rows_builder *b, Oid type, const char *text, size_t n)
{
    sl_value v = { .type = SL_TEXT };
    switch (type) {
    case INT2_OID:
    case INT4_OID:
    case INT8_OID:
    case OID_OID:
        v.type = SL_INT;
        v.i = strtoll(text, NULL, 10);
        return v;
    case BOOL_OID:
        v.type = SL_INT;
        v.i = text[0] == 't';
        return v;
    case FLOAT4_OID:
    case FLOAT8_OID:
        v.type = SL_REAL;
        v.d = strtod(text, NULL); /* also reads NaN and Infinity */
        return v;
    case NUMERIC_OID:
        return read_numeric(text, n);
    case BYTEA_OID:
        v.type = SL_BLOB;
        v.s = read_bytea(b, text, n);
        return v;
    default:
        v.s = rows_bytes(b, text, n);
        return v;
    }
}

void pg_rows_add(struct rows_builder *b, const PGresult *res)
{
    int cols = PQnfields(res), rows = PQntuples(res);
    for (int r = 0; r < rows && !b->failed; r++) {
        sl_value *cell = rows_next(b);
        if (!cell) return;
        for (int i = 0; i < cols && !b->failed; i++) {
            if (PQgetisnull(res, r, i))
                cell[i] = (sl_value){ .type = SL_NULL };
            else
                cell[i] = read_value(b, PQftype(res, i), PQgetvalue(res, r, i), (size_t)PQgetlength(res, r, i));
        }
    }
}

int64_t pg_changed(const PGresult *res)
{
    const char *what = PQcmdStatus((PGresult *)res); /* libpq only reads it */
    return strncmp(what, "SELECT", 6) ? strtoll(PQcmdTuples((PGresult *)res), NULL, 10) : 0;
}
