/* jsonpath.c - evaluates a filter over Jansson values, level by level, as Neo's nodes do. */
#include "jsonpath.h"
#include "jsontext.h"
#include <jansson.h>

enum token { BAD, END, ROOT, DOT, OPEN, CLOSE, STAR, COMMA, COLON, NAME, STRING, NUMBER };
struct values {
    const json_t **v;
    size_t n, room;
};
struct walk {
    sl_str path;
    size_t at;
    sl_str text;    /* of the last NAME, STRING or NUMBER */
    unsigned depth; /* steps that are left */
    const char *wrong;
    struct values now; /* what is selected so far */
};

static int is_name(char ch, int first)
{
    return ch == '_' || (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (!first && ch >= '0' && ch <= '9');
}

static enum token next(struct walk *w)
{
    if (w->at >= w->path.n) return END;
    size_t from = w->at++;
    const char *p = w->path.p;
    switch (p[from]) {
    case '$':
        return ROOT;
    case '.':
        return DOT;
    case '[':
        return OPEN;
    case ']':
        return CLOSE;
    case '*':
        return STAR;
    case ',':
        return COMMA;
    case ':':
        return COLON;
    case '\'':
        while (w->at < w->path.n && p[w->at] != '\'')
            w->at++;
        w->text = sl_lit(p + from + 1, w->at - from - 1);
        return w->at++ < w->path.n ? STRING : BAD;
    default:
        break;
    }
    if (is_name(p[from], 1)) {
        while (w->at < w->path.n && is_name(p[w->at], 0))
            w->at++;
        w->text = sl_lit(p + from, w->at - from);
        return NAME;
    }
    if (p[from] != '-' && (p[from] < '0' || p[from] > '9')) return BAD;
    while (w->at < w->path.n && p[w->at] >= '0' && p[w->at] <= '9')
        w->at++;
    w->text = sl_lit(p + from, w->at - from);
    return NUMBER;
}

static int fail(struct walk *w, const char *sentence)
{
    if (!w->wrong) w->wrong = sentence;
    return 0;
}
static int malformed(struct walk *w) { return fail(w, "The filter is malformed."); }

static int step_down(struct walk *w)
{
    if (w->depth == 0) return fail(w, "The filter goes down more than 6 levels.");
    w->depth--;
    return 1;
}

static int add(struct walk *w, struct values *to, const json_t *v)
{
    if (!v) return 1;
    if (to->n == JSONPATH_VALUES) return fail(w, "The filter selects more than 1024 values.");
    if (to->n == to->room) {
        size_t room = to->room ? 2 * to->room : 16;
        const json_t **bigger = realloc(to->v, room * sizeof *bigger);
        if (!bigger) return fail(w, "There is no memory for the filter.");
        to->v = bigger;
        to->room = room;
    }
    to->v[to->n++] = v;
    return 1;
}

static void replace(struct walk *w, struct values *by)
{
    free(w->now.v);
    w->now = *by;
    memset(by, 0, sizeof *by);
}

/* All children of what is selected. */
static int children(struct walk *w)
{
    struct values out = { NULL, 0, 0 };
    if (!step_down(w)) return 0;
    for (size_t i = 0; i < w->now.n; i++) {
        json_t *parent = (json_t *)(uintptr_t)w->now.v[i], *v;
        const char *key;
        size_t k;
        if (json_is_array(parent)) {
            json_array_foreach(parent, k, v) if (!add(w, &out, v)) break;
        } else if (json_is_object(parent)) {
            json_object_foreach(parent, key, v) if (!add(w, &out, v)) break;
        }
    }
    replace(w, &out);
    return !w->wrong;
}

static int members_into(struct walk *w, struct values *out, const sl_str *names, size_t n)
{
    for (size_t i = 0; i < w->now.n; i++)
        for (size_t k = 0; k < n; k++)
            if (!add(w, out, json_object_getn(w->now.v[i], names[k].p, names[k].n))) return 0;
    return 1;
}

static int members(struct walk *w, const sl_str *names, size_t n)
{
    struct values out = { NULL, 0, 0 };
    if (!step_down(w)) return 0;
    int ok = members_into(w, &out, names, n);
    replace(w, &out);
    return ok;
}

/* `..name`: the members of that name at this level, then those one level deeper, until nothing is left below. */
static int descendants(struct walk *w)
{
    struct values found = { NULL, 0, 0 };
    sl_str name;
    int ok = next(w) == NAME;
    if (!ok) return malformed(w);
    name = w->text;
    while (ok && w->now.n > 0)
        ok = members_into(w, &found, &name, 1) && children(w);
    replace(w, &found);
    return ok;
}

static int elements(struct walk *w, const int *index, size_t n)
{
    struct values out = { NULL, 0, 0 };
    int ok = step_down(w);
    for (size_t i = 0; ok && i < w->now.n; i++) {
        size_t size = json_array_size(w->now.v[i]); /* 0 for what is no array */
        for (size_t k = 0; ok && k < n; k++) {
            int64_t at = index[k] < 0 ? (int64_t)size + index[k] : index[k];
            if (at >= 0 && (size_t)at < size) ok = add(w, &out, json_array_get(w->now.v[i], (size_t)at));
        }
    }
    replace(w, &out);
    return ok;
}

static int slice(struct walk *w, int from, int to)
{
    struct values out = { NULL, 0, 0 };
    int ok = step_down(w);
    for (size_t i = 0; ok && i < w->now.n; i++) {
        int64_t size = (int64_t)json_array_size(w->now.v[i]);
        int64_t a = from < 0 ? from + size : from, b = to <= 0 ? to + size : to;
        if (a < 0) a = 0;
        if (b > size) b = size;
        for (; ok && a < b; a++)
            ok = add(w, &out, json_array_get(w->now.v[i], (size_t)a));
    }
    replace(w, &out);
    return ok;
}

static int to_index(struct walk *w, sl_str text, int *out)
{
    int64_t v = sl_to_int(text, INT64_MAX);
    if (v > INT32_MAX || v < INT32_MIN) return fail(w, "An index in the filter is out of range.");
    *out = (int)v;
    return 1;
}

/* The name between quotes, with JSON's escapes, in `room` bytes. */
static int to_name(struct walk *w, sl_str text, char *room, size_t size, sl_str *out)
{
    char quoted[JSONPATH_TEXT_MAX + 3];
    if (text.n > JSONPATH_TEXT_MAX) return malformed(w);
    (void)snprintf(quoted, sizeof quoted, "\"%.*s\"", (int)text.n, text.p);
    json_t *v = json_loadb(quoted, text.n + 2, JSON_DECODE_ANY, NULL);
    int ok = json_is_string(v) && json_string_length(v) < size;
    if (ok) {
        memcpy(room, json_string_value(v), json_string_length(v));
        *out = sl_lit(room, json_string_length(v));
    }
    json_decref(v);
    return ok ? 1 : malformed(w);
}

/* `[1,2]` or `['a','b']`: the rest of a union whose first part, of this kind, is in w->text and was followed by `t`. */
static int list(struct walk *w, enum token kind, enum token t)
{
    enum { PARTS = 64 };
    char room[JSONPATH_TEXT_MAX];
    sl_str names[PARTS];
    int index[PARTS];
    sl_str part = w->text;
    size_t n = 0, used = 0;
    for (;;) {
        if (n == PARTS) return malformed(w);
        if (kind == NUMBER && !to_index(w, part, &index[n])) return 0;
        if (kind == STRING) {
            if (!to_name(w, part, room + used, sizeof room - used, &names[n])) return 0;
            used += names[n].n;
        }
        n++;
        if (t == CLOSE) break;
        if (t != COMMA || next(w) != kind) return malformed(w);
        part = w->text;
        t = next(w);
    }
    return kind == NUMBER ? elements(w, index, n) : members(w, names, n);
}

static int slice_from(struct walk *w, int from)
{
    int to = 0;
    enum token t = next(w);
    if (t == NUMBER) {
        if (!to_index(w, w->text, &to)) return 0;
        t = next(w);
    }
    return t == CLOSE ? slice(w, from, to) : malformed(w);
}

static int bracket(struct walk *w)
{
    int from;
    enum token t = next(w);
    if (t == STAR) return next(w) == CLOSE ? children(w) : malformed(w);
    if (t == COLON) return slice_from(w, 0);
    if (t != NUMBER && t != STRING) return malformed(w);
    sl_str text = w->text;
    enum token then = next(w);
    w->text = text;
    if (t == NUMBER && then == COLON) return to_index(w, text, &from) && slice_from(w, from);
    return then == CLOSE || then == COMMA ? list(w, t, then) : malformed(w);
}

static int dot(struct walk *w)
{
    switch (next(w)) {
    case STAR:
        return children(w);
    case DOT:
        return descendants(w);
    case NAME:
        return members(w, &w->text, 1);
    default:
        return malformed(w);
    }
}

static const char *evaluate(const json_t *root, struct walk *w)
{
    if (w->path.n > JSONPATH_TEXT_MAX) return "The filter is longer than 1024 bytes.";
    if (next(w) != ROOT) return "The filter must start with $.";
    if (!add(w, &w->now, root)) return w->wrong;
    for (;;) {
        enum token t = next(w);
        if (t == END) return NULL;
        int ok = t == DOT ? dot(w) : t == OPEN ? bracket(w) : malformed(w);
        if (!ok) return w->wrong;
    }
}

const char *jsonpath_check(sl_str path)
{
    struct walk w = { .path = path, .depth = JSONPATH_DEPTH };
    json_t *nothing = json_object();
    const char *wrong = nothing ? evaluate(nothing, &w) : "There is no memory for the filter.";
    free(w.now.v);
    json_decref(nothing);
    return wrong;
}

const char *jsonpath_filter(sl_str json, sl_str path, size_t max_bytes, char **out, size_t *n)
{
    struct walk w = { .path = path, .depth = JSONPATH_DEPTH };
    const char *wrong;
    json_t *root = json_text_read(json, &wrong);
    if (!root) return wrong;
    wrong = evaluate(root, &w);
    if (!wrong) wrong = json_text_array(w.now.v, w.now.n, max_bytes, out, n);
    free(w.now.v);
    json_decref(root);
    return wrong;
}
