/* document.c - the OpenAPI 3.1 document of everything that the started modules offer, made anew when their set changes.
 */
#include "base/id.h"
#include "identity/identity.h"
#include "openapi/parts.h"
#include "rest/problem.h"
#include <stdlib.h>

enum { DOCUMENT_MAX = 16 << 20 };
static struct document current;
static struct page_sizes page_sizes;

/* ---- pieces ---- */
static void open_object(buf *b, const char *name)
{
    json_add_name(b, name);
    buf_add_char(b, '{');
}

static void add_json(buf *b, const char *name, json_t *owned)
{
    char *text = owned ? json_dumps(owned, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    if (text) json_field_raw(b, name, sl_cstr(text));
    free(text);
    json_decref(owned);
}

static void add_reference(buf *b, const char *place, const char *name)
{
    buf_printf(b, "%s{\"$ref\":\"#/components/%s/%s\"}", b->n && b->p[b->n - 1] == '}' ? "," : "", place, name);
}

static void begin_element(buf *b)
{
    if (b->n && b->p[b->n - 1] == '}') buf_add_char(b, ',');
    buf_add_char(b, '{');
}

/* ---- parameters ---- */
static void add_path_parameters(buf *b, const struct operation *op)
{
    sl_str rest = op->path, part;
    while (rest.n && str_split(&rest, '/', &part)) {
        if (part.n < 2 || part.p[0] != '{') continue;
        sl_str name = str_sub(part, 1, part.n - 2);
        begin_element(b);
        json_field_str(b, "name", name);
        json_field_str(b, "in", SL("path"));
        json_field_bool(b, "required", true);
        json_add_name(b, "description");
        buf_printf(b, "\"Which %.*s.\"", STR_ARG(name));
        json_field_raw(b, "schema", SL("{\"type\":\"string\",\"minLength\":1}"));
        buf_add_char(b, '}');
    }
}

static void add_query_parameters(buf *b, const struct operation *op)
{
    json_t *query = op->entry->query, *required = json_object_get(query, "required"), *field;
    const char *name;
    json_object_foreach(json_object_get(query, "properties"), name, field)
    {
        bool must = false;
        for (size_t i = 0; i < json_array_size(required); i++)
            must = must || strcmp(name, json_string_value(json_array_get(required, i))) == 0;
        json_t *schema = openapi_schema(field, false);
        begin_element(b);
        json_field_str(b, "name", sl_cstr(name));
        json_field_str(b, "in", SL("query"));
        if (must) json_field_bool(b, "required", true);
        json_field_str(b, "description", json_str(json_object_get(schema, "description")));
        json_object_del(schema, "description");
        add_json(b, "schema", schema);
        buf_add_char(b, '}');
    }
}

static void add_parameters(buf *b, const struct operation *op)
{
    const sl_entry *s = &op->entry->spec;
    json_add_name(b, "parameters");
    buf_add_char(b, '[');
    add_path_parameters(b, op);
    add_query_parameters(b, op);
    if (s->flags & SL_LIST) {
        add_reference(b, "parameters", "limit");
        add_reference(b, "parameters", "cursor");
    }
    if (!scope_is_open(sl_cstr(s->scope))) add_reference(b, "parameters", "X-Tenant-ID");
    if (sl_is(op->method, "POST")) add_reference(b, "parameters", "Idempotency-Key");
    if (op->editable) add_reference(b, "parameters", "If-Match");
    if (op->tagged) add_reference(b, "parameters", "If-None-Match");
    buf_add_char(b, ']');
}

/* ---- body and answers ---- */
static void add_body(buf *b, const struct operation *op)
{
    const json_t *in = op->entry->in;
    if (!in) return;
    open_object(b, "requestBody");
    if (json_array_size(json_object_get(in, "required")) || json_integer_value(json_object_get(in, "minProperties")))
        json_field_bool(b, "required", true);
    open_object(b, "content");
    open_object(b, "application/json");
    add_json(b, "schema", openapi_schema(in, false));
    add_json(b, "example", openapi_example(in, false));
    buf_add_cstr(b, "}}}");
}

/* One page of a list: what reply_list makes of items. */
static json_t *page_schema(const json_t *item)
{
    return json_pack("{s:s, s:b, s:[s,s], s:{s:{s:s, s:o}, s:{s:[s,s], s:s}}}", "type", "object",
                     "additionalProperties", 0, "required", "items", "next_cursor", "properties", "items", "type",
                     "array", "items", openapi_schema(item, true), "next_cursor", "type", "string", "null",
                     "description", "Give it as `cursor` to get the next page; null on the last one.");
}

static json_t *page_example(const json_t *item)
{
    json_t *one = openapi_example(item, true);
    return one ? json_pack("{s:[o], s:n}", "items", one, "next_cursor") : NULL;
}

static void add_answer_headers(buf *b, const struct operation *op)
{
    open_object(b, "headers");
    add_reference_named(b, "X-Request-Id", "headers");
    if (!op->exempt) {
        add_reference_named(b, "RateLimit", "headers");
        add_reference_named(b, "RateLimit-Policy", "headers");
    }
    if (op->tagged || operation_has_field(op->entry->out, "version")) add_reference_named(b, "ETag", "headers");
    if (op->entry->spec.flags & SL_LIST) add_reference_named(b, "Link", "headers");
    if (sl_is(op->method, "POST")) add_reference_named(b, "Idempotency-Hit", "headers");
    buf_add_char(b, '}');
}

static void add_content(buf *b, const struct operation *op)
{
    const json_t *out = op->entry->out;
    sl_str rest = operation_types(op), one;
    bool list = op->entry->spec.flags & SL_LIST, json = sl_is(rest, "application/json");
    char type[64];
    if (!sl_given(rest)) return;
    open_object(b, "content");
    while (rest.n && str_split(&rest, ',', &one)) {
        one = str_trim(one);
        snprintf(type, sizeof type, "%.*s", STR_ARG(str_sub(one, 0, sizeof type - 1)));
        open_object(b, type);
        if (json) {
            add_json(b, "schema", list ? page_schema(out) : openapi_schema(out, true));
            add_json(b, "example", list ? page_example(out) : openapi_example(out, true));
        } else
            json_field_raw(b, "schema", SL("{\"type\":\"string\"}"));
        buf_add_char(b, '}');
    }
    if (json && (op->entry->spec.flags & SL_STREAM)) /* such objects, one an event */
        json_field_raw(b, "text/event-stream", SL("{\"schema\":{\"type\":\"string\"}}"));
    buf_add_char(b, '}');
}

static void add_success(buf *b, const struct operation *op)
{
    static const char *const titles[] = { "Done.", "Created.", "Accepted; the work goes on." };
    int status = operation_success(op);
    bool list = op->entry->spec.flags & SL_LIST;
    char name[12];
    snprintf(name, sizeof name, "%d", status);
    open_object(b, name);
    json_field_str(b, "description", sl_cstr(list ? "A page." : status <= 202 ? titles[status - 200] : "Done."));
    add_answer_headers(b, op);
    add_content(b, op);
    buf_add_char(b, '}');
}

static void add_answers(buf *b, const struct operation *op, arena *a)
{
    char name[12];
    open_object(b, "responses");
    add_success(b, op);
    for (int status = 300; status < 600; status++) {
        if (!operation_may_answer(op, status)) continue;
        sl_str codes = operation_codes(op, status, a);
        snprintf(name, sizeof name, "%d", status);
        if (!codes.n && openapi_common_answer(status)) {
            add_reference_named(b, name, "responses");
            continue;
        }
        open_object(b, name);
        json_add_name(b, "description");
        json_add_string(b, arena_printf(a, "%s%s%.*s%s", problem_title(status), codes.n ? ": " : "", STR_ARG(codes),
                                        codes.n ? ", or a common problem." : "."));
        openapi_problem_content(b, status, SL("specific"));
        buf_add_char(b, '}');
    }
    buf_add_char(b, '}');
}

static void add_operation(buf *b, const struct operation *op, arena *a)
{
    const sl_entry *s = &op->entry->spec;
    char method[8] = "";
    for (size_t i = 0; i < op->method.n && i < sizeof method - 1; i++)
        method[i] = (char)(op->method.p[i] | 0x20);
    open_object(b, method);
    json_field_str(b, "operationId", sl_cstr(op->id));
    json_field_str(b, "summary", sl_cstr(s->doc ? s->doc : op->id));
    json_add_name(b, "tags");
    buf_printf(b, "[\"%s\"]", op->module->name);
    json_field_str(b, "x-sl-module", sl_cstr(op->module->name));
    if (s->flags & SL_SENSITIVE) json_field_bool(b, "x-sl-sensitive", true);
    if (s->flags & SL_STREAM) json_field_bool(b, "x-sl-stream", true);
    if (s->deadline_ms) json_field_int(b, "x-sl-deadline-ms", s->deadline_ms);
    json_add_name(b, "security");
    if (!scope_is_open(sl_cstr(s->scope))) {
        buf_add_cstr(b, "[{\"bearer\":[");
        json_add_string(b, sl_cstr(s->scope));
        buf_add_cstr(b, "]}]");
    } else
        buf_add_cstr(b, "[]");
    add_parameters(b, op);
    add_body(b, op);
    add_answers(b, op, a);
    buf_add_char(b, '}');
}

/* ---- the whole ---- */
static void add_paths(buf *b, const struct operation *all, size_t n, arena *a)
{
    open_object(b, "paths");
    for (size_t i = 0; i < n; i++) {
        if (all[i].group != i) continue;
        json_add_name(b, arena_cstr(a, all[i].path));
        buf_add_char(b, '{');
        for (size_t k = i; k < n; k++)
            if (all[k].group == i) add_operation(b, &all[k], a);
        buf_add_char(b, '}');
    }
    buf_add_char(b, '}');
}

static void add_tags(buf *b, const struct operation *all, size_t n)
{
    json_add_name(b, "tags");
    buf_add_char(b, '[');
    for (size_t i = 0; i < n; i++) {
        if (i && all[i].module == all[i - 1].module) continue;
        begin_element(b);
        json_field_str(b, "name", sl_cstr(all[i].module->name));
        if (all[i].module->doc && *all[i].module->doc) json_field_str(b, "description", sl_cstr(all[i].module->doc));
        buf_add_char(b, '}');
    }
    buf_add_char(b, ']');
}

static void build(struct document *d)
{
    unsigned char hash[32];
    buf *b = &d->text;
    arena *a = arena_new(0);
    buf_clear(b);
    if (!b->max) buf_init(b, DOCUMENT_MAX);
    buf_add_char(b, '{');
    openapi_add_head(b);
    add_tags(b, d->operations, d->n_operations);
    add_paths(b, d->operations, d->n_operations, a);
    openapi_add_components(b, page_sizes);
    buf_add_char(b, '}');
    arena_free(a);
    sha256(buf_str(b), hash);
    d->etag[0] = '"';
    hex_encode(hash, 16, d->etag + 1);
    memcpy(d->etag + 33, "\"", 2);
}

const struct document *openapi_document(void)
{
    if (current.arena && current.revision == modules_revision()) return &current;
    arena_free(current.arena);
    current.arena = arena_new(0);
    current.revision = modules_revision();
    current.operations = operations_find(current.arena, &current.n_operations);
    build(&current);
    return &current;
}

void openapi_setup(struct page_sizes sizes)
{
    openapi_close();
    page_sizes = sizes;
}

void openapi_close(void)
{
    arena_free(current.arena);
    buf_free(&current.text);
    current = (struct document){ 0 };
}
