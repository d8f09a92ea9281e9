/* fields.c - what a command takes and gives, as its OpenAPI operation states it. */
#include "slctl.h"
#include <string.h>

enum { MAX_FIELDS = 256 };

static struct field *add(struct fields *f, const char *name, enum where where)
{
    if (!f->list) f->list = keep(MAX_FIELDS * sizeof *f->list);
    for (size_t i = 0; i < f->n; i++) /* an operation's parameter takes the place of its path's */
        if (f->list[i].where == where && strcmp(f->list[i].name, name) == 0) return &f->list[i];
    if (f->n == MAX_FIELDS) return NULL;
    struct field *new = &f->list[f->n++];
    new->name = name;
    new->where = where;
    new->doc = "";
    return new;
}

static const char *doc_of(const json_t *a, const json_t *b)
{
    const char *doc = json_string_value(json_object_get(a, "description"));
    if (!doc) doc = json_string_value(json_object_get(b, "description"));
    return doc ? doc : "";
}

/* Headers that slctl has flags of its own for. */
static bool own_header(const char *name)
{
    static const char *const own[] = { "Authorization", "X-Tenant-ID", "Idempotency-Key",  "If-Match",
                                       "If-None-Match", "Accept",      "Content-Type",     "Content-Length",
                                       "Host",          "Connection",  "Transfer-Encoding" };
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (strcasecmp(name, own[i]) == 0) return true;
    return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != strlen(name);
}

static void add_parameters(const struct document *d, struct fields *f, json_t *list)
{
    size_t i;
    json_t *each;
    json_array_foreach (list, i, each) {
        json_t *p = resolve(d, each);
        const char *name = json_string_value(json_object_get(p, "name"));
        const char *in = json_string_value(json_object_get(p, "in"));
        if (!name || !*name || !in) continue;
        bool path = strcmp(in, "path") == 0, query = strcmp(in, "query") == 0, header = strcmp(in, "header") == 0;
        if ((!path && !query && !header) || (header && own_header(name))) continue;
        struct field *new = add(f, name, path ? IN_PATH : query ? IN_QUERY : IN_HEADER);
        if (!new) continue;
        new->schema = resolve(d, json_object_get(p, "schema"));
        new->required = path || json_is_true(json_object_get(p, "required"));
        new->doc = doc_of(p, new->schema);
    }
}

bool is_json(const char *type)
{
    size_t n = type ? strcspn(type, "; ") : 0;
    return (n == 16 && strncasecmp(type, "application/json", n) == 0) ||
           (n > 5 && strncasecmp(type + n - 5, "+json", 5) == 0);
}

static json_t *json_content(const struct document *d, json_t *holder)
{
    const char *type;
    json_t *media, *content = json_object_get(holder, "content");
    json_object_foreach (content, type, media)
        if (is_json(type) && !strstr(type, "problem")) return resolve(d, json_object_get(media, "schema"));
    return NULL;
}

static void add_body(const struct document *d, struct fields *f, json_t *body)
{
    const char *name;
    json_t *each, *need;
    size_t i;
    if (!body) return;
    f->has_body = true;
    f->body = json_content(d, body);
    json_t *properties = json_object_get(f->body, "properties");
    f->body_is_object = json_is_object(properties) || !f->body || has_type(f->body, "object");
    json_object_foreach (properties, name, each) {
        json_t *schema = resolve(d, each);
        if (json_is_true(json_object_get(schema, "readOnly"))) continue;
        struct field *new = add(f, name, IN_BODY);
        if (!new) continue;
        new->schema = schema;
        new->doc = doc_of(each, schema);
    }
    json_array_foreach (json_object_get(f->body, "required"), i, need) {
        for (size_t k = 0; k < f->n; k++)
            if (f->list[k].where == IN_BODY && json_is_string(need) &&
                strcmp(f->list[k].name, json_string_value(need)) == 0)
                f->list[k].required = true;
    }
}

/* The path itself says in which order its parameters come and that they are there. */
static void add_path(struct fields *f, const char *path)
{
    for (const char *p = strchr(path, '{'); p; p = strchr(p, '{')) {
        const char *end = strchr(++p, '}');
        if (!end) return;
        struct field *new = add(f, keep_copy(p, (size_t)(end - p)), IN_PATH);
        if (new) new->required = true;
        p = end;
    }
}

struct fields *fields_of(const struct document *d, const struct command *c)
{
    struct fields *f = keep(sizeof *f);
    add_path(f, c->path);
    add_parameters(d, f, json_object_get(c->path_item, "parameters"));
    add_parameters(d, f, json_object_get(c->operation, "parameters"));
    add_body(d, f, resolve(d, json_object_get(c->operation, "requestBody")));
    return f;
}

json_t *answer_schema(const struct document *d, const struct command *c)
{
    const char *status;
    json_t *answer;
    json_object_foreach (json_object_get(c->operation, "responses"), status, answer)
        if (*status == '2') return json_content(d, resolve(d, answer));
    return NULL;
}

bool answer_is_json(const struct document *d, const struct command *c)
{
    const char *status, *type;
    json_t *answer, *media;
    json_object_foreach (json_object_get(c->operation, "responses"), status, answer)
        if (*status == '2')
            json_object_foreach (json_object_get(resolve(d, answer), "content"), type, media)
                if (is_json(type)) return true;
    return false;
}

bool has_type(const json_t *schema, const char *type)
{
    size_t i;
    json_t *each, *types = json_object_get(schema, "type");
    if (json_is_string(types)) return strcmp(json_string_value(types), type) == 0;
    json_array_foreach (types, i, each)
        if (json_is_string(each) && strcmp(json_string_value(each), type) == 0) return true;
    return false;
}

bool is_switch(const json_t *schema)
{
    static const char *const others[] = { "string", "integer", "number", "array", "object" };
    for (size_t i = 0; i < 5; i++)
        if (has_type(schema, others[i])) return false;
    return has_type(schema, "boolean");
}

/* A list is an object with `items`, or with one array of objects and no other array. */
json_t *items_schema(const struct document *d, json_t *schema, const char **list_name)
{
    const char *name;
    json_t *each, *found = NULL;
    json_t *properties = json_object_get(schema, "properties"), *items = json_object_get(properties, "items");
    if (items && has_type(resolve(d, items), "array")) {
        if (list_name) *list_name = "items";
        return resolve(d, json_object_get(resolve(d, items), "items"));
    }
    json_object_foreach (properties, name, each) {
        json_t *array = resolve(d, each);
        if (!has_type(array, "array")) continue;
        json_t *element = resolve(d, json_object_get(array, "items"));
        if (found || !has_type(element, "object")) return NULL;
        found = element;
        if (list_name) *list_name = name;
    }
    return found;
}

static void add_choices(struct text *t, json_t *choices)
{
    size_t i;
    json_t *each;
    json_array_foreach (choices, i, each) {
        if (i >= 24) {
            text_add_cstr(t, ", ...");
            return;
        }
        text_printf(t, "%s%s", i ? ", " : "", cell_text(each, false));
    }
}

static void add_bounds(struct text *t, const json_t *schema, const char *least, const char *most, const char *unit)
{
    json_t *low = json_object_get(schema, least), *high = json_object_get(schema, most);
    if (low && high)
        text_printf(t, " %s..%s%s", value_text(low, least), value_text(high, most), unit);
    else if (low || high)
        text_printf(t, " %s %s%s", low ? "at least" : "at most", value_text(low ? low : high, most), unit);
}

const char *type_words(const struct document *d, json_t *schema)
{
    static const char *const names[] = { "string", "integer", "number", "boolean", "array", "object", "null" };
    struct text t = { 0 };
    json_t *choices = json_object_get(schema, "enum");
    const char *format = json_string_value(json_object_get(schema, "format"));
    if (json_array_size(choices)) {
        text_add_cstr(&t, "one of ");
        add_choices(&t, choices);
        return text_cstr(&t);
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!has_type(schema, names[i])) continue;
        text_printf(&t, "%s%s", t.n ? " or " : "", i == 0 && format ? visible(format) : names[i]);
        if (i == 0 && !format) add_bounds(&t, schema, "minLength", "maxLength", " characters");
        if (i == 1 || i == 2) add_bounds(&t, schema, "minimum", "maximum", "");
        json_t *element = i == 4 ? resolve(d, json_object_get(schema, "items")) : NULL;
        if (element && !has_type(element, "array")) text_printf(&t, " of %s", type_words(d, element));
    }
    return t.n ? text_cstr(&t) : "any";
}

const struct field *field_find(const struct fields *f, const char *flag)
{
    const struct field *found = NULL;
    for (size_t i = 0; i < f->n; i++)
        if (word_is(flag, f->list[i].name)) return &f->list[i];
    for (size_t i = 0; i < f->n; i++) { /* --source for source_id */
        size_t n = strlen(f->list[i].name);
        if (n < 4 || !word_is("-id", f->list[i].name + n - 3)) continue;
        if (!word_is(flag, keep_copy(f->list[i].name, n - 3))) continue;
        if (found) return NULL;
        found = &f->list[i];
    }
    return found;
}

const char *field_flag_name(const struct fields *f, const struct field *field)
{
    const char *name = flag_name(field->name);
    bool taken = connection_flag(name) || field_find(f, field->name) != field;
    return taken && field->where == IN_BODY ? keep_text("body.%s", name) : name;
}
