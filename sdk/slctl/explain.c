/* explain.c - what a command or a kind of thing consists of: its fields with types and meanings. */
#include "slctl.h"
#include <stdio.h>
#include <string.h>

enum { MAX_LINES = 5000, LEVELS = 6 };

/* A schema that holds itself several times would grow without end. */
static void print_schema(const struct document *d, json_t *schema, int depth)
{
    static int lines;
    const char *name;
    json_t *each, *need;
    size_t i;
    json_object_foreach (json_object_get(schema, "properties"), name, each) {
        json_t *field = resolve(d, each);
        const char *doc = json_string_value(json_object_get(each, "description"));
        bool required = false;
        if (++lines > MAX_LINES) return;
        json_array_foreach (json_object_get(schema, "required"), i, need)
            required = required || (json_is_string(need) && strcmp(json_string_value(need), name) == 0);
        if (!doc) doc = json_string_value(json_object_get(field, "description"));
        printf("%*s%s  <%s>%s\n", 2 * depth, "", visible(name), visible(type_words(d, field)),
               required ? " required" : "");
        if (doc) printf("%*s%s\n", 2 * depth + 4, "", visible(doc));
        if (depth >= LEVELS) continue;
        json_t *below = has_type(field, "array") ? resolve(d, json_object_get(field, "items")) : field;
        if (json_object_get(below, "properties")) print_schema(d, below, depth + 1);
    }
}

static void explain_one(const struct document *d, const struct command *c)
{
    const struct fields *f = fields_of(d, c);
    json_t *out = answer_schema(d, c), *items = items_schema(d, out, NULL);
    printf("%s\n%s %s\n", visible(c->summary), c->method, visible(c->path));
    for (size_t i = 0; i < f->n; i++) {
        const struct field *each = &f->list[i];
        if (each->where == IN_BODY) continue;
        printf("\n%s  <%s>%s in the %s\n", visible(each->name),
               each->schema ? visible(type_words(d, each->schema)) : "text", each->required ? " required" : "",
               each->where == IN_PATH    ? "path"
               : each->where == IN_QUERY ? "query"
                                         : "headers");
        if (*each->doc) printf("    %s\n", visible(each->doc));
    }
    if (json_object_size(json_object_get(f->body, "properties"))) {
        printf("\nTAKES\n");
        print_schema(d, f->body, 1);
    }
    if (items) {
        printf("\nGIVES a list of\n");
        print_schema(d, items, 1);
    } else if (json_object_get(out, "properties")) {
        printf("\nGIVES\n");
        print_schema(d, out, 1);
    }
}

/* A group is best known by what it holds: the answer of its get, list or create. */
static void explain_group(const struct document *d, char **words, int n, const struct command *first, size_t under)
{
    static const char *const verbs[] = { "get", "list", "create" };
    char *more[MAX_WORDS + 1];
    memcpy(more, words, (size_t)n * sizeof *more);
    for (size_t i = 0; i < 3 && n < MAX_WORDS; i++) {
        more[n] = (char *)verbs[i];
        const struct command *c = command_find(d, more, n + 1);
        json_t *out = c ? answer_schema(d, c) : NULL, *items = items_schema(d, out, NULL);
        if (items) out = items;
        if (!json_object_get(out, "properties")) continue;
        printf("FIELDS\n");
        print_schema(d, out, 1);
        printf("\n");
        break;
    }
    printf("COMMANDS\n");
    for (size_t i = 0; i < under; i++)
        printf("  %s\n    %s\n", visible(first[i].id), visible(first[i].summary));
}

void explain_document(const struct document *d, char **words, int n)
{
    const struct command *first = NULL, *own = command_find(d, words, n);
    size_t under = commands_under(d, words, n, &first);
    if (!under) fail(USAGE, "The server knows no \"%s\".", visible(words[0]));
    if (own) explain_one(d, own);
    if (!own) explain_group(d, words, n, first, under);
}

int explain_command(int argc, char **argv)
{
    char *words[MAX_WORDS];
    int n = 0;
    for (int i = 0; i < argc; i++) {
        char *copy, *rest = NULL;
        if (global_flag(argc, argv, &i)) continue;
        if (argv[i][0] == '-') fail(USAGE, "There is no flag %s.", visible(argv[i]));
        copy = keep_copy(argv[i], strlen(argv[i]));
        for (char *w = strtok_r(copy, ".", &rest); w; w = strtok_r(NULL, ".", &rest)) {
            if (n == MAX_WORDS) fail(USAGE, "Too many words.");
            words[n++] = w;
        }
    }
    if (n == 0) fail(USAGE, "slctl explain WORDS: what is to be explained? `slctl help` lists commands.");
    options_finish();
    struct document *d = options.refresh ? NULL : document_look();
    if (!d) d = document_get(FROM_SERVER);
    if (!commands_under(d, words, n, NULL) && !d->fresh) d = document_get(FROM_SERVER);
    explain_document(d, words, n);
    return DONE;
}
