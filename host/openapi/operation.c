/* operation.c - the operations of the API as the modules' tables tell them: their names, and what each may answer. */
#include "openapi/openapi.h"
#include "identity/identity.h"
#include "rest/pattern.h"
#include <ctype.h>

enum { WORDS_MAX = ROUTE_SEGMENTS + 2 };

/* Is `path` the path `parent` and one parameter? */
static bool is_below(sl_str parent, sl_str path)
{
    const char *slash = memrchr(path.p, '/', path.n);
    size_t n = (size_t)(slash - path.p);
    return n > 0 && segment_is_param(str_sub(path, n + 1, path.n)) && path_same_shape(parent, str_sub(path, 0, n));
}

bool operation_has_field(const json_t *schema, const char *name)
{
    return json_object_get(json_object_get(schema, "properties"), name) != NULL;
}

int operation_success(const struct operation *op) { return op->entry->spec.status ? (int)op->entry->spec.status : 200; }

sl_str operation_types(const struct operation *op)
{
    const json_t *out = op->entry->out;
    sl_str stated = json_str(json_object_get(out, "contentMediaType"));
    if (!out || operation_success(op) == 204) return sl_lit(NULL, 0);
    return sl_given(stated) ? stated : SL("application/json");
}

/* ---- what the table says ---- */
static bool fetches(const struct module *m)
{
    sl_str rest = sl_cstr(m->grants), one;
    while (rest.n && str_split(&rest, ' ', &one))
        if (str_starts(one, "net:") || str_starts(one, "ask:")) return true;
    return false;
}

bool operation_may_answer(const struct operation *op, int status)
{
    const sl_entry *s = &op->entry->spec;
    bool changes = !sl_is(op->method, "GET");
    switch (status) {
    case 400: /* a path, query or header that cannot be read */
    case 422: /* a query parameter that nobody knows, or an Idempotency-Key used before */
    case 500:
    case 503:
    case 504:
        return true;
    case 304:
        if (op->tagged) return true;
        break;
    case 401:
    case 403:
        if (!scope_is_open(sl_cstr(s->scope))) return true;
        break;
    case 404:
        if (op->n_params) return true;
        break;
    case 408:
    case 413:
        if (changes) return true;
        break;
    case 409:
        if (changes) return true;
        break;
    case 412:
        if (op->editable) return true;
        break;
    case 415:
        if (op->entry->in) return true;
        break;
    case 429:
        if (!op->exempt || s->max_inflight) return true;
        break;
    case 502:
        if (fetches(op->module)) return true;
        break;
    default:
        break;
    }
    arena *a = arena_new(0);
    bool own = sl_given(operation_codes(op, status, a));
    arena_free(a);
    return own;
}

sl_str operation_codes(const struct operation *op, int status, arena *a)
{
    sl_str rest = sl_cstr(op->entry->spec.problems), one, number, all = sl_lit(NULL, 0);
    while (rest.n && str_split(&rest, ',', &one)) {
        sl_str code = str_trim(one);
        int64_t its;
        if (!str_split(&code, ' ', &number) || !str_to_int(number, &its) || its != status) continue;
        code = str_trim(code);
        if (!sl_given(all))
            all = code.n ? arena_printf(a, "`%.*s`", STR_ARG(code)) : SL("");
        else if (code.n)
            all = arena_printf(a, "%.*s%s`%.*s`", STR_ARG(all), all.n ? ", " : "", STR_ARG(code));
    }
    return all;
}

/* ---- names ---- */
struct words {
    sl_str item[WORDS_MAX];
    size_t n;
};

/* The fixed segments of the path behind the plugin's name. Places that many plugins share are left out: what is below
 * an account or among the administrator's routes is still known by its plugin. */
static void words_of(const struct operation *op, struct words *w)
{
    sl_str rest = str_sub(op->path, 1, op->path.n), part, name = sl_cstr(op->module->name);
    w->n = 0;
    while (rest.n && str_split(&rest, '/', &part)) {
        bool shared = w->n == 0 && !sl_same(part, name) &&
                      (sl_is(part, "accounts") || sl_is(part, "admin") || sl_is(part, "system"));
        if (shared || segment_is_param(part)) continue;
        if (w->n == 0 && !sl_same(part, name)) {
            const char *dot = memchr(part.p, '.', part.n);
            if (!(dot && sl_same(str_sub(part, 0, (size_t)(dot - part.p)), name))) w->item[w->n++] = name;
        }
        w->item[w->n++] = part;
    }
    if (w->n == 0) w->item[w->n++] = name;
}

static bool offers(const struct operation *op, enum route_method method) { return op->methods & 1u << method; }

/* The last word; NULL: the path's own last segment is it, as in /requests/{id}/retry. */
static const char *verb_of(const struct operation *op, size_t words)
{
    bool only = !(op->methods & (op->methods - 1));
    if (sl_is(op->method, "PUT")) return offers(op, ROUTE_PATCH) ? "replace" : "update";
    if (sl_is(op->method, "PATCH")) return "update";
    if (sl_is(op->method, "DELETE")) return "delete";
    if (sl_is(op->method, "POST")) {
        bool makes = op->item || op->parent || op->entry->spec.status == 201 || offers(op, ROUTE_GET);
        return makes || words == 1 ? "create" : NULL;
    }
    if (op->item) return "get";
    if ((op->entry->spec.flags & SL_LIST) || operation_has_field(op->entry->out, "items")) return "list";
    return only && words > 1 ? NULL : "get";
}

static void name(struct operation *op)
{
    struct words w;
    size_t n = 0;
    words_of(op, &w);
    const char *verb = verb_of(op, w.n);
    for (size_t i = 0; i < w.n; i++) {
        sl_str word = w.item[i];
        const char *dot = memchr(word.p, '.', word.n); /* /openapi.json is called openapi */
        if (dot && dot > word.p) word.n = (size_t)(dot - word.p);
        if (i && n + 1 < OPERATION_ID) op->id[n++] = '.';
        for (size_t k = 0; k < word.n && n + 1 < OPERATION_ID; k++) {
            unsigned char ch = (unsigned char)word.p[k];
            op->id[n++] = isalnum(ch) || ch == '_' ? (char)tolower(ch) : '-';
        }
    }
    if (verb) snprintf(op->id + n, OPERATION_ID - n, ".%s", verb);
}

static void add_suffix(struct operation *op, const char *suffix)
{
    size_t n = strlen(op->id), room = strlen(suffix);
    if (n + room >= OPERATION_ID) n = OPERATION_ID - 1 - room;
    snprintf(op->id + n, OPERATION_ID - n, "%s", suffix);
}

static bool taken(const struct operation *all, size_t n, size_t but)
{
    for (size_t i = 0; i < n; i++)
        if (i != but && strcmp(all[i].id, all[but].id) == 0) return true;
    return false;
}

/* Two with one name: what acts on a whole collection is told from what acts on an item by "-all", as in jobs.retry and
 * jobs.retry-all. What is still the same gets a number. */
static void make_unique(struct operation *all, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n; k++)
            if (i != k && all[i].n_params < all[k].n_params && strcmp(all[i].id, all[k].id) == 0) {
                add_suffix(&all[i], "-all");
                break;
            }
    for (size_t i = 1; i < n; i++) {
        char base[OPERATION_ID], number[12];
        memcpy(base, all[i].id, sizeof base);
        for (unsigned k = 2; taken(all, i + 1, i); k++) {
            memcpy(all[i].id, base, sizeof base);
            snprintf(number, sizeof number, "-%u", k);
            add_suffix(&all[i], number);
        }
    }
}

/* ---- all of them ---- */
static void add(struct operation *op, const struct module *m, const struct entry *e)
{
    sl_str rest = sl_cstr(e->spec.name), part;
    op->module = m;
    op->entry = e;
    str_split(&rest, ' ', &op->method);
    op->path = rest;
    op->methods = 1u << route_method_of(op->method);
    while (rest.n && str_split(&rest, '/', &part)) {
        op->item = segment_is_param(part);
        op->n_params += op->item;
    }
    op->exempt = entry_exempt(e);
}

/* What one operation is to be known about needs the others. A path of the same shape has one template and one group. */
static void relate(struct operation *all, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct operation *op = &all[i];
        const json_t *out = op->entry->out;
        op->group = i;
        for (size_t k = 0; k < n; k++) {
            struct operation *other = &all[k];
            if (k < i && op->group == i && path_same_shape(op->path, other->path)) {
                op->group = other->group;
                op->path = all[op->group].path;
            }
            if (path_same_shape(op->path, other->path)) op->methods |= 1u << route_method_of(other->method);
            op->parent = op->parent || is_below(op->path, other->path);
            if (path_same_shape(op->path, other->path) && !sl_is(op->method, "GET") && !sl_is(op->method, "POST"))
                op->editable = op->editable || operation_has_field(other->entry->out, "version");
        }
        bool etag = operation_has_field(out, "etag");
        op->editable = op->editable || (etag && !sl_is(op->method, "GET"));
        op->tagged = sl_is(op->method, "GET") && !(op->entry->spec.flags & SL_LIST) &&
                     (etag || operation_has_field(out, "version"));
    }
}

const struct operation *operations_find(arena *a, size_t *n)
{
    size_t room = 1;
    for (const struct module *m = modules_first(); m; m = m->next)
        room += m->status == MODULE_STARTED && m->current ? m->current->n_entries : 0;
    struct operation *all = arena_alloc(a, room * sizeof *all);
    *n = 0;
    for (const struct module *m = modules_first(); m; m = m->next)
        for (size_t i = 0; m->status == MODULE_STARTED && m->current && i < m->current->n_entries; i++)
            if (m->current->entries[i].spec.kind == SL_ROUTE) add(&all[(*n)++], m, &m->current->entries[i]);
    relate(all, *n);
    for (size_t i = 0; i < *n; i++)
        name(&all[i]);
    make_unique(all, *n);
    return all;
}
