/* openapi.h - the API's description: the operations that the modules' tables offer, and the OpenAPI 3.1 document of
 * them. */
#ifndef OPENAPI_OPENAPI_H
#define OPENAPI_OPENAPI_H
#include "module/module.h"

enum { OPERATION_ID = 160 };
struct operation { /* a route of a started module; valid until the set of modules changes */
    const struct module *module;
    const struct entry *entry;
    sl_str method, path;   /* "GET"; the template of the first operation of this shape */
    size_t group;          /* index of that one: they share an entry of the document's `paths` */
    unsigned methods;      /* bits of enum route_method, of all at this path */
    unsigned n_params;     /* in the path */
    bool item;             /* the path ends in a parameter */
    bool parent;           /* another operation's path is this one and a parameter */
    bool editable;         /* honours If-Match */
    bool tagged;           /* answers with an ETag */
    bool exempt;           /* from rates and numbers at once */
    char id[OPERATION_ID]; /* "oracle.sources.create": also the command of slctl */
};

/* ---- operation.c ---- */
/* All operations in the order of the modules and their tables, in `a`. */
const struct operation *operations_find(arena *a, size_t *n);
bool operation_may_answer(const struct operation *op, int status); /* can it, as far as the host and its table know? */
/* The codes of its own problems with this status, as "`a`, `b`" in `a`; absent if none. */
sl_str operation_codes(const struct operation *op, int status, arena *a);
bool operation_has_field(const json_t *schema, const char *name);
int operation_success(const struct operation *op);
/* The media types that it answers, with commas between: application/json, or what its `out` names; absent = no body. */
sl_str operation_types(const struct operation *op);

/* ---- schema.c: a schema of the subset as JSON Schema 2020-12; the caller owns it ---- */
json_t *openapi_schema(const json_t *schema, bool out); /* out: of an answer */
sl_str pattern_portable(arena *a, sl_str posix);        /* as an ECMA-262 regular expression */

/* ---- example.c ---- */
/* A value that the schema admits, always the same one; NULL: none was found. `whole`: optional fields too. The caller
 * owns it. */
json_t *openapi_example(const json_t *schema, bool whole);

/* ---- document.c ---- */
struct page_sizes { /* of lists: what `limit` is when it is not given, and its maximum */
    size_t normal, max;
};
void openapi_setup(struct page_sizes sizes); /* also again, with other sizes: the document is made anew */
struct document {
    uint64_t revision;
    arena *arena; /* owns the operations */
    const struct operation *operations;
    size_t n_operations;
    buf text;
    char etag[40];
};
const struct document *openapi_document(void); /* up to date; valid until the set of modules changes */
void openapi_close(void);
#endif
