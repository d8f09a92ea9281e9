/* table.c - rows and fields in aligned columns, as wide as their characters are on a terminal. */
#include "slctl.h"
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { NARROW_CELL = 60, NARROW_COLUMNS = 8, ELSEWHERE = 160 };

const char *cell_text(const json_t *v, bool wide)
{
    size_t limit = wide ? 4096 : NARROW_CELL;
    if (!v || json_is_null(v)) return "-";
    const char *text = json_is_object(v) || json_is_array(v) ? json_text(v) : value_text(v, "");
    if (json_is_string(v) && !*text) return "\"\"";
    text = visible(text);
    if (width(text) <= limit) return text;
    struct text out = { 0 };
    for (size_t used = 0; *text;) { /* whole characters, while there is room for them and the dots */
        size_t n = 1;
        while ((text[n] & 0xc0) == 0x80)
            n++;
        const char *one = keep_copy(text, n);
        used += width(one);
        if (used > limit - 1) break;
        text_add(&out, one, n);
        text += n;
    }
    text_add_cstr(&out, "\u2026");
    return text_cstr(&out);
}

/* ---- which columns ---- */
/* Mostly single values? A field of any type may be a list here and there. */
static bool scalar(json_t *schema, const json_t *items, const char *name)
{
    size_t i, single = 0, more = 0;
    json_t *item;
    bool nested = schema && (has_type(schema, "object") || has_type(schema, "array"));
    if (schema && json_is_true(json_object_get(schema, "writeOnly"))) return false;
    if (nested && !has_type(schema, "string") && !has_type(schema, "number")) return false;
    json_array_foreach (items, i, item) {
        json_t *v = json_object_get(item, name);
        if (json_is_string(v) && strchr(json_string_value(v), '\n')) return false;
        if (json_is_object(v) || json_is_array(v))
            more++;
        else
            single++;
    }
    return more == 0 || single > more;
}

static bool has_column(const struct column *list, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].name, name) == 0) return true;
    return false;
}

/* All names in the schema's order, then in that of the rows where no schema tells or all is wished. */
static size_t all_names(const json_t *items, json_t *schema, bool wide, struct column *out)
{
    const char *name;
    json_t *each, *item;
    size_t n = 0, i;
    json_object_foreach (json_object_get(schema, "properties"), name, each)
        if (n < MAX_COLUMNS) out[n++].name = name;
    json_array_foreach (items, i, item) {
        if (i >= 50 || (json_object_size(json_object_get(schema, "properties")) && !wide)) break;
        json_object_foreach (item, name, each)
            if (n < MAX_COLUMNS && !has_column(out, n, name)) out[n++].name = name;
    }
    return n;
}

/* The same in every row, or for machines and long reading: only a wide table has them. */
static bool minor(const char *name)
{
    static const char *const names[] = { "account_id", "tenant", "etag", "doc", "description" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) return true;
    return false;
}

static size_t column_width(const json_t *items, const char *name)
{
    size_t i, most = width(visible(name)), mark = keep_mark();
    json_t *item;
    json_array_foreach (items, i, item) {
        size_t own = width(cell_text(json_object_get(item, name), false));
        if (own > most) most = own;
        keep_release(mark);
    }
    return most + 2;
}

static size_t screen_width(void)
{
    struct winsize size;
    if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 80) return ELSEWHERE;
    return size.ws_col;
}

/* How things stand, since when and about what is always shown. */
static bool wanted(const char *name)
{
    static const char *const names[] = { "status", "state", "created_at", "method", "target" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) return true;
    return false;
}

/* A narrow table has the first single values that fit on the screen, and what is wanted. */
static size_t choose_narrow(const struct document *d, const json_t *items, json_t *schema, const struct column *all,
                            size_t names, struct column *out)
{
    size_t n = 0, used = 0, sizes[MAX_COLUMNS], room = screen_width();
    bool fit[MAX_COLUMNS];
    json_t *properties = json_object_get(schema, "properties");
    for (size_t i = 0; i < names; i++) {
        json_t *own = d ? resolve(d, json_object_get(properties, all[i].name)) : NULL;
        fit[i] = !minor(all[i].name) && scalar(own, items, all[i].name);
        sizes[i] = fit[i] ? column_width(items, all[i].name) : 0;
        if (fit[i] && wanted(all[i].name)) used += sizes[i], n++;
    }
    for (size_t i = 0; i < names; i++) {
        if (!fit[i] || wanted(all[i].name)) continue;
        fit[i] = n == 0 || (n < NARROW_COLUMNS && used + sizes[i] <= room + 2);
        if (fit[i]) used += sizes[i], n++;
    }
    n = 0;
    for (size_t i = 0; i < names; i++)
        if (fit[i]) out[n++] = all[i];
    return n;
}

size_t columns_choose(const struct document *d, const json_t *items, json_t *schema, bool wide, struct column *out)
{
    struct column all[MAX_COLUMNS];
    memset(all, 0, sizeof all);
    size_t n = 0, names = all_names(items, schema, wide, all);
    json_t *properties = json_object_get(schema, "properties");
    if (!wide) n = choose_narrow(d, items, schema, all, names, out);
    for (size_t i = 0; wide && i < names; i++) {
        json_t *own = d ? resolve(d, json_object_get(properties, all[i].name)) : NULL;
        if (!json_is_true(json_object_get(own, "writeOnly"))) out[n++] = all[i];
    }
    if (n == 0 && schema) return columns_choose(d, items, NULL, wide, out); /* it tells nothing that could be shown */
    return n;
}

/* ---- printing ---- */
static void heading(const char *name, size_t pad)
{
    struct text upper = { 0 };
    text_add(&upper, "", 0);
    for (const char *p = visible(name); *p; p++) {
        char ch = *p >= 'a' && *p <= 'z' ? (char)(*p - 32) : *p;
        text_add(&upper, &ch, 1);
    }
    bool bold = colours();
    printf("%s%s%s%*s", bold ? "\033[1m" : "", upper.p, bold ? "\033[0m" : "", (int)pad, "");
}

void table_print(const json_t *items, struct column *columns, size_t n, bool wide, bool heads)
{
    size_t i, c, mark = keep_mark();
    json_t *item;
    for (c = 0; c < n; c++) {
        size_t own = heads ? width(visible(columns[c].name)) : 0;
        if (own > columns[c].width) columns[c].width = own;
    }
    json_array_foreach (items, i, item) {
        for (c = 0; c < n; c++) {
            size_t own = width(cell_text(json_object_get(item, columns[c].name), wide));
            if (own > columns[c].width) columns[c].width = own;
        }
        keep_release(mark);
    }
    for (c = 0; heads && c < n; c++)
        heading(columns[c].name, c + 1 < n ? columns[c].width - width(visible(columns[c].name)) + 2 : 0);
    if (heads) printf("\n");
    json_array_foreach (items, i, item) {
        for (c = 0; c < n; c++) {
            const char *text = cell_text(json_object_get(item, columns[c].name), wide);
            size_t own = width(text);
            size_t pad = c + 1 == n ? 0 : 2 + (columns[c].width > own ? columns[c].width - own : 0);
            printf("%s%*s", text, (int)pad, "");
        }
        printf("\n");
        keep_release(mark);
    }
}

/* Objects below are shown by the path to their values. */
static void flatten(json_t *out, const json_t *object, const char *prefix, int depth)
{
    const char *name;
    json_t *v;
    json_object_foreach ((json_t *)object, name, v) {
        const char *path = *prefix ? keep_text("%s.%s", prefix, name) : name;
        if (json_is_object(v) && json_object_size(v) && depth < MAX_DEPTH)
            flatten(out, v, path, depth + 1);
        else
            json_object_set(out, path, v);
    }
}

void table_fields(const json_t *object, bool wide)
{
    json_t *flat = keep_json(json_object()), *v;
    const char *name;
    size_t left = 0;
    flatten(flat, object, "", 0);
    json_object_foreach (flat, name, v)
        if (width(visible(name)) > left) left = width(visible(name));
    json_object_foreach (flat, name, v) {
        size_t own = width(visible(name));
        const char *text = cell_text(v, wide || !json_is_array(v));
        printf("%s%*s%s\n", visible(name), (int)(left - own + 2), "", text);
    }
}
