/* output.c - answers as JSON, YAML or a table on standard output. */
#include "slctl.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool colours(void)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(STDOUT_FILENO) && !(no && *no) && !(term && strcmp(term, "dumb") == 0);
}

enum format output_format(void)
{
    if (options.format != FORMAT_AUTO) return options.format;
    return isatty(STDOUT_FILENO) ? FORMAT_TABLE : FORMAT_JSON;
}

void output_flush(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) return;
    if (errno == EPIPE) exit(LOCAL); /* whoever read has seen enough, as in `| head` */
    fail(LOCAL, "The output could not be written.");
}

/* ---- JSON ---- */
static void add_string(struct text *out, const json_t *v)
{
    char *text = json_dumps(v, JSON_ENCODE_ANY);
    if (!text) abort();
    for (const char *p = text; *p; p++) { /* control characters of Latin-1 (C2 80 to C2 9F) can steer a terminal too */
        if ((unsigned char)*p == 0x7f)
            text_add_cstr(out, "\\u007f");
        else if ((unsigned char)*p == 0xc2 && (unsigned char)p[1] < 0xa0)
            text_printf(out, "\\u00%02x", (unsigned)(unsigned char)*++p);
        else
            text_add(out, p, 1);
    }
    free(text);
}

static void new_line(struct text *out, int depth)
{
    if (depth >= 0) text_printf(out, "\n%*s", 2 * depth, "");
}

/* depth < 0: everything on one line. */
static void add_json(struct text *out, const json_t *v, int depth, int nesting)
{
    const char *name;
    json_t *each;
    size_t i, n = 0;
    int inner = depth < 0 ? depth : depth + 1;
    if (nesting > 2 * MAX_DEPTH) fail(BROKEN, "The answer is nested too deep to be shown.");
    if (json_is_object(v) && json_object_size(v)) {
        text_add_cstr(out, "{");
        json_object_foreach ((json_t *)v, name, each) {
            json_t *text = keep_json(json_string(name));
            if (n++) text_add_cstr(out, depth < 0 ? ", " : ",");
            new_line(out, inner);
            add_string(out, text);
            text_add_cstr(out, ": ");
            add_json(out, each, inner, nesting + 1);
        }
        new_line(out, depth);
        text_add_cstr(out, "}");
    } else if (json_is_array(v) && json_array_size(v)) {
        text_add_cstr(out, "[");
        json_array_foreach (v, i, each) {
            if (i) text_add_cstr(out, depth < 0 ? ", " : ",");
            new_line(out, inner);
            add_json(out, each, inner, nesting + 1);
        }
        new_line(out, depth);
        text_add_cstr(out, "]");
    } else if (json_is_string(v)) {
        add_string(out, v);
    } else {
        text_add_cstr(out, json_is_object(v) ? "{}" : json_is_array(v) ? "[]" : value_text(v, ""));
    }
}

const char *json_text(const json_t *v)
{
    struct text out = { 0 };
    add_json(&out, v, -1, 0);
    return text_cstr(&out);
}

void print_json(const json_t *v, bool compact)
{
    struct text out = { 0 };
    add_json(&out, v, compact ? -1 : 0, 0);
    printf("%s\n", text_cstr(&out));
}

/* ---- tables ---- */
/* The rows of a page: `items`, whatever is in it, or what the schema says. */
static json_t *list_of(const json_t *v, json_t *schema, const struct document *d, const char **name)
{
    *name = "items";
    if (d && schema) items_schema(d, schema, name);
    json_t *list = json_object_get(v, *name);
    return json_is_array(list) ? list : NULL;
}

static void print_list(const json_t *list, json_t *schema, const struct document *d)
{
    struct column columns[MAX_COLUMNS];
    bool wide = output_format() == FORMAT_WIDE;
    size_t n = columns_choose(d, list, schema, wide, columns);
    table_print(list, columns, n, wide, !options.no_headers);
}

/* One thing: its single values, then each list of things in it as a table of its own. */
static void print_thing(const json_t *v, json_t *schema, const struct document *d)
{
    const char *name;
    json_t *each, *single = keep_json(json_object()), *properties = json_object_get(schema, "properties");
    size_t lists = 0;
    json_object_foreach ((json_t *)v, name, each)
        if (!json_is_object(json_array_get(each, 0))) json_object_set(single, name, each);
    table_fields(single, output_format() == FORMAT_WIDE);
    json_object_foreach ((json_t *)v, name, each) {
        if (!json_is_object(json_array_get(each, 0))) continue;
        json_t *own = d ? resolve(d, json_object_get(properties, name)) : NULL;
        printf("%s%s\n", lists++ || json_object_size(single) ? "\n" : "", visible(name));
        print_list(each, own ? resolve(d, json_object_get(own, "items")) : NULL, d);
    }
}

static void print_table(const json_t *v, json_t *schema, const struct document *d)
{
    const char *name = NULL;
    if (json_is_array(v)) {
        print_list(v, d ? resolve(d, json_object_get(schema, "items")) : NULL, d);
        return;
    }
    if (!json_is_object(v)) {
        printf("%s\n", visible(cell_text(v, true)));
        return;
    }
    json_t *list = list_of(v, schema, d, &name);
    size_t others = json_object_size(v) - (list ? 1 : 0) - (json_object_get(v, "next_cursor") ? 1 : 0);
    if (!list || others) {
        print_thing(v, schema, d);
        return;
    }
    print_list(list, d ? items_schema(d, schema, NULL) : NULL, d);
    const char *next = json_string_value(json_object_get(v, "next_cursor"));
    if (next) {
        fflush(stdout);
        warn("There is more: --all, or --cursor %s", visible(next));
    }
}

void print_value(const json_t *v, json_t *schema, const struct document *d)
{
    struct text out = { 0 };
    switch (output_format()) {
    case FORMAT_YAML:
        yaml_write(&out, v);
        fputs(text_cstr(&out), stdout);
        break;
    case FORMAT_TABLE:
    case FORMAT_WIDE:
        print_table(v, schema, d);
        break;
    default:
        print_json(v, false);
        break;
    }
    output_flush();
}

static bool readable(const char *type)
{
    return !type || starts(type, "text/") || strstr(type, "json") || strstr(type, "xml") || strstr(type, "yaml");
}

/* What is no JSON is given on byte by byte, but a terminal is protected from what could steer it. */
void print_answer(const struct answer *a, json_t *schema, const struct document *d)
{
    if (a->json) {
        print_value(a->json, schema, d);
        return;
    }
    if (isatty(STDOUT_FILENO) && !readable(a->type))
        fail(USAGE, "The answer is %zu bytes of %s: send it into a file or a program.", a->size, visible(a->type));
    if (!isatty(STDOUT_FILENO)) {
        fwrite(a->body, 1, a->size, stdout);
    } else {
        char *rest = a->body;
        for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n"))
            if (*line || rest) printf("%s\n", visible(line));
    }
    output_flush();
}
