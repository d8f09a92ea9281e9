/* watch.c - asks again and again: redraws on a terminal, else prints only what is new or has changed. */
#include "slctl.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What is known of each row, by its id; values are the rows. */
static const char *key_of(const json_t *item, size_t i)
{
    static const char *const names[] = { "id", "name" };
    for (size_t n = 0; n < 2; n++) {
        const char *key = json_string_value(json_object_get(item, names[n]));
        if (key) return key;
    }
    return keep_text("#%zu", i);
}

static void print_rows(const json_t *rows, json_t *schema, const struct document *d, bool first)
{
    static struct column columns[MAX_COLUMNS]; /* of the first print: later rows stand below the same heads */
    static size_t n;
    size_t i;
    json_t *row;
    struct text yaml = { 0 };
    switch (output_format()) {
    case FORMAT_TABLE:
    case FORMAT_WIDE: {
        bool wide = output_format() == FORMAT_WIDE;
        if (first) {
            n = columns_choose(d, rows, schema, wide, columns);
            for (i = 0; i < n; i++)
                columns[i].name = strdup(columns[i].name);
        }
        table_print(rows, columns, n, wide, first && !options.no_headers);
        break;
    }
    case FORMAT_YAML:
        yaml_write(&yaml, rows);
        fputs(text_cstr(&yaml), stdout);
        break;
    default:
        json_array_foreach (rows, i, row)
            print_json(row, true);
    }
    output_flush();
}

static void print_changes(const json_t *answer, json_t *known, const struct document *d, const struct command *c,
                          bool first)
{
    size_t i;
    json_t *item, *items = json_object_get(answer, "items"), *schema = answer_schema(d, c);
    json_t *rows = keep_json(json_array()), *now = keep_json(json_object());
    if (!json_is_array(items)) items = keep_json(json_pack("[O]", answer));
    json_array_foreach (items, i, item) {
        const char *key = key_of(item, i);
        json_object_set(now, key, item);
        if (json_equal(json_object_get(known, key), item)) continue;
        json_array_append(rows, item);
    }
    json_object_clear(known); /* what has left the list need not be remembered */
    json_object_update(known, now);
    json_t *row_schema = items_schema(d, schema, NULL);
    if (json_array_size(rows)) print_rows(rows, row_schema ? row_schema : schema, d, first);
}

static void redraw(const struct answer *a, const struct document *d, const struct command *c)
{
    printf("\033[H\033[2J\033[3J%s every %ld ms\n\n", visible(c->id), options.watch_ms);
    print_answer(a, answer_schema(d, c), d);
}

int watch(const struct document *d, const struct command *c, struct call *call)
{
    json_t *known = keep_json(json_object());
    bool screen = isatty(STDOUT_FILENO), first = true;
    for (;; sleep_ms(options.watch_ms)) {
        size_t mark = keep_mark();
        struct answer a = http_call(call);
        bool passing = a.failed == UNREACHABLE || a.failed == TIMED_OUT || a.status >= 500 || a.status == 429;
        if (a.failed || a.status >= 400) {
            int code = complain(&a);
            if (!passing) return code;
        } else if (screen && output_format() != FORMAT_JSON) {
            redraw(&a, d, c);
        } else {
            print_changes(a.json, known, d, c, first);
            first = false;
        }
        keep_release(mark);
    }
}
