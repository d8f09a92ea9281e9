/* events.c - `bus events tail`: prints events as they are published, and goes on where it was when a connection breaks.
 */
#include "slctl.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tail {
    long left; /* events still wanted; -1: all */
    bool heads;
};

static void print_row(struct tail *t, const json_t *event)
{
    static struct column columns[] = { { "created_at", 27 }, { "topic", 24 }, { "key", 36 }, { "payload", 0 } };
    json_t *row = keep_json(json_pack("[O]", event));
    table_print(row, columns, 4, output_format() == FORMAT_WIDE, t->heads && !options.no_headers);
    t->heads = false;
}

static bool print_event(void *arg, const char *id, const char *name, const char *data)
{
    struct tail *t = arg;
    char why[256];
    size_t mark = keep_mark();
    struct text yaml = { 0 };
    json_t *event = json_read(data, strlen(data), why, sizeof why);
    if (!event) event = keep_json(json_pack("{s:s, s:s, s:s}", "id", id, "topic", name, "payload", data));
    if (!event) event = keep_json(json_pack("{s:s}", "topic", "(not UTF-8)"));
    switch (output_format()) {
    case FORMAT_TABLE:
    case FORMAT_WIDE:
        print_row(t, event);
        break;
    case FORMAT_YAML:
        yaml_write(&yaml, event);
        printf("---\n%s", text_cstr(&yaml));
        break;
    default:
        print_json(event, true);
    }
    output_flush();
    keep_release(mark);
    return t->left < 0 || --t->left > 0;
}

static const char *flag_value(int argc, char **argv, int *i, const char *name)
{
    size_t n = strlen(name);
    if (strncmp(argv[*i], name, n) != 0 || (argv[*i][n] && argv[*i][n] != '=')) return NULL;
    if (argv[*i][n] == '=') return argv[*i] + n + 1;
    if (*i + 1 >= argc) fail(USAGE, "%s needs a value.", name);
    return argv[++*i];
}

int events_tail_command(int argc, char **argv)
{
    struct tail t = { -1, true };
    const char *value, *topic = NULL, *last = NULL;
    for (int i = 0; i < argc; i++) {
        if ((value = flag_value(argc, argv, &i, "--topic")))
            topic = value;
        else if ((value = flag_value(argc, argv, &i, "--last-event-id")))
            last = value;
        else if ((value = flag_value(argc, argv, &i, "--count"))) {
            char *end;
            t.left = strtol(value, &end, 10);
            if (*end || t.left < 1 || t.left > 1000000000)
                fail(USAGE, "--count %s: must be a number from 1.", visible(value));
        } else if (!global_flag(argc, argv, &i))
            fail(USAGE, "slctl bus events tail: unexpected %s.", visible(argv[i]));
    }
    options_finish();
    if (last && (strlen(last) > 200 || strpbrk(last, "\r\n")))
        fail(USAGE, "--last-event-id: must be the id of an event.");
    return http_stream(topic ? keep_text("/system/events?topic=%s", url_escape(topic)) : "/system/events", last,
                       print_event, &t);
}
