/* run.c - runs a command made from the document: asks, follows pages, watches, prints. */
#include "slctl.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MAX_PAGES = 10000 };

static bool takes_cursor(const struct document *d, const struct command *c, long *most)
{
    const struct fields *f = fields_of(d, c);
    bool found = false;
    for (size_t i = 0; i < f->n; i++) {
        if (f->list[i].where != IN_QUERY) continue;
        if (strcmp(f->list[i].name, "cursor") == 0) found = true;
        if (strcmp(f->list[i].name, "limit") == 0)
            *most = (long)json_integer_value(json_object_get(f->list[i].schema, "maximum"));
    }
    return found;
}

static const char *with(const char *path, const char *name, const char *value)
{
    return keep_text("%s%c%s=%s", path, strchr(path, '?') ? '&' : '?', name, url_escape(value));
}

/* All pages as one list; a server that gives the same cursor again would never end. */
static int all_pages(struct call *call, const struct document *d, const struct command *c)
{
    long most = 0;
    if (!takes_cursor(d, c, &most)) fail(USAGE, "slctl %s has no pages: --all has no meaning here.", command_text(c));
    const char *base = call->path, *cursor = NULL;
    if (most > 0 && !strstr(base, "?limit=") && !strstr(base, "&limit="))
        base = with(base, "limit", keep_text("%ld", most));
    json_t *items = keep_json(json_array());
    for (int pages = 0; pages < MAX_PAGES; pages++) {
        size_t mark = keep_mark();
        call->path = cursor ? with(base, "cursor", cursor) : base;
        struct answer a = http_call(call);
        if (a.failed || a.status != 200) return complain(&a);
        json_array_extend(items, json_object_get(a.json, "items"));
        const char *next = json_string_value(json_object_get(a.json, "next_cursor"));
        if (!next) {
            json_t *all = keep_json(json_pack("{s:O}", "items", items));
            print_value(all, answer_schema(d, c), d);
            return DONE;
        }
        if (cursor && strcmp(cursor, next) == 0) break;
        char again[1024];
        if (strlen(next) >= sizeof again) break;
        strcpy(again, next);
        keep_release(mark);
        cursor = keep_copy(again, strlen(again));
    }
    fail(BROKEN, "The list does not end: after %zu items there is still a cursor.", json_array_size(items));
}

/* Does its success carry a body that is no JSON, as metrics or an export do? */
static bool streams(const struct document *d, const struct command *c)
{
    const char *status;
    json_t *answer;
    json_object_foreach (json_object_get(c->operation, "responses"), status, answer)
        if (*status == '2' && json_object_size(json_object_get(resolve(d, answer), "content")))
            return !isatty(STDOUT_FILENO) && !answer_is_json(d, c);
    return false;
}

/* A client that leaves ends its call: nobody shall leave too early who has not said so. */
static void wait_as_long_as_the_server(const struct command *c)
{
    json_int_t ms = json_integer_value(json_object_get(c->operation, "x-sl-deadline-ms"));
    if (!options.timeout_given && ms > 0 && ms <= 3600000 && ms + 2000 > options.timeout_ms)
        options.timeout_ms = (long)ms + 2000;
}

int run_command(const struct document *d, const struct command *c, int argc, char **argv)
{
    struct call call = command_call(d, c, argc, argv);
    if (options.help) return help_command(d, (char **)c->words, c->n_words);
    wait_as_long_as_the_server(c);
    if (options.watch_ms && strcmp(c->method, "GET") != 0)
        fail(USAGE, "--watch: only commands that read can be watched.");
    if (options.watch_ms) return watch(d, c, &call);
    if (options.all) return all_pages(&call, d, c);
    call.stream = streams(d, c);
    struct answer a = http_call(&call);
    if (a.failed || a.status < 200 || a.status >= 300) {
        int code = complain(&a);
        const char *key = json_string_value(json_object_get(call.headers, "Idempotency-Key"));
        if (key && (a.failed == TIMED_OUT || a.failed == UNREACHABLE))
            fprintf(stderr, "  Whether it happened is not known; to find out repeat it with --idempotency-key %s\n",
                    key);
        return code;
    }
    if (a.size && !a.streamed) print_answer(&a, answer_schema(d, c), d);
    return DONE;
}
