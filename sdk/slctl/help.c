/* help.c - help for slctl, for a group of commands and for one command, out of the document. */
#include "slctl.h"
#include <stdio.h>
#include <string.h>

static void columns(const char *left, size_t pad, const char *right)
{
    size_t own = width(left);
    printf("  %s%*s%s\n", left, (int)(own < pad ? pad - own + 2 : 2), "", right);
}

/* ---- topics ---- */
static const char exit_codes[] = "Exit codes\n"
                                 "  0   done\n"
                                 "  1   the server refused: a 4xx that has no code of its own, as 422 for wrong input\n"
                                 "  2   the command line, a file or the configuration is wrong; nothing was changed\n"
                                 "  3   not found (404)\n"
                                 "  4   conflict: 409, or --if-match does not hold (412)\n"
                                 "  5   the server failed (5xx), or its answer makes no sense\n"
                                 "  6   the server cannot be reached, or the connection broke\n"
                                 "  7   no answer within --timeout\n"
                                 "  8   not allowed: no or a wrong token (401), or a scope is missing (403)\n"
                                 "  9   audit verify: the chain does not hold\n"
                                 "  10  a file or the output could not be written\n";

static const char environment[] = "Environment (a flag comes first, then the environment, then the context)\n"
                                  "  SERVICE_LAYER_ADDR           address of the server, http://127.0.0.1:8080\n"
                                  "  SERVICE_LAYER_TOKEN          bearer token, or @FILE\n"
                                  "  SERVICE_LAYER_REFRESH_TOKEN  asked for a new token when the old one is refused\n"
                                  "  SERVICE_LAYER_TENANT         tenant\n"
                                  "  SERVICE_LAYER_ACCOUNT        account for commands that need one\n"
                                  "  SERVICE_LAYER_CA_FILE        certificates to trust (PEM)\n"
                                  "  SERVICE_LAYER_TIMEOUT        time for a request, 15s\n"
                                  "  SLCTL_CONTEXT                context to use\n"
                                  "  SLCTL_CONFIG                 file of the contexts, ~/.config/slctl/config.yaml\n"
                                  "  SLCTL_OUTPUT                 json, yaml, table or wide\n"
                                  "  NO_COLOR                     no bold heads\n"
                                  "  XDG_CACHE_HOME               where the servers' commands are cached, ~/.cache\n";

static const char values[] =
    "Values\n"
    "  --name VALUE, --name=VALUE   a field; its type is checked before anything is sent\n"
    "  --enabled, --no-enabled      a boolean\n"
    "  --tags a,b --tags c          a list: commas or repetition; '[\"a,b\"]' for elements with commas\n"
    "  --metadata k=v,k2=v2         an object of free names; any object also as '{\"k\": \"v\"}'\n"
    "  --policy.max 3               a field inside an object\n"
    "  --value @FILE, --value @-    out of a file or standard input, without its last line feed\n"
    "  --value @@text               text that begins with @\n"
    "  --value-file FILE            the same as --value @FILE\n"
    "  --source ID                  short for --source-id; - and _ are alike in names\n"
    "  --body.token X               a field of the body whose name means something else\n"
    "  -f FILE, -f -                the whole body as JSON or YAML; flags change fields of it\n"
    "  null                         where the field may be null\n";

static const struct {
    const char *name, *text, *doc;
} topics[] = {
    { "exit-codes", exit_codes, "how slctl ends" },
    { "environment", environment, "variables that are read" },
    { "values", values, "how fields are written" },
};

const char *help_text(const char *name)
{
    for (size_t i = 0; i < sizeof topics / sizeof *topics; i++)
        if (strcmp(name, topics[i].name) == 0) return topics[i].text;
    return NULL;
}

bool help_topic(const char *name)
{
    const char *text = help_text(name);
    if (strcmp(name, "man") == 0)
        man_page();
    else if (text)
        fputs(text, stdout);
    return text || strcmp(name, "man") == 0;
}

int help_builtin(const struct builtin *b)
{
    printf("Usage: slctl %s%s%s\n\n%s\n", b->words, b->usage && *b->usage ? " " : "", b->usage ? b->usage : "",
           b->doc ? b->doc : "");
    return DONE;
}

static void print_flags(void)
{
    printf("\nFlags of every command:\n");
    for (const struct flag *f = global_flags; f->name; f++) {
        const char *letter = f->letter ? keep_text("-%c, ", f->letter) : "    ";
        columns(keep_text("%s--%s%s", letter, f->name, f->value ? " VALUE" : ""), 27, f->doc);
    }
}

/* ---- groups ---- */
static bool same_words(const struct command *a, const struct command *b, int n)
{
    for (int i = 0; i < n; i++)
        if (i >= a->n_words || i >= b->n_words || strcmp(a->words[i], b->words[i]) != 0) return false;
    return true;
}

const char *command_text(const struct command *c)
{
    struct text t = { 0 };
    for (int i = 0; i < c->n_words; i++)
        text_printf(&t, "%s%s", i ? " " : "", c->words[i]);
    return text_cstr(&t);
}

static void print_groups(const struct document *d)
{
    printf("\nCommands of the server at %s:\n", options.addr);
    for (size_t i = 0; i < d->n; i++) {
        const struct command *c = &d->commands[i];
        struct text verbs = { 0 };
        if (i && same_words(c, &d->commands[i - 1], 1)) continue;
        for (size_t k = i; k < d->n && same_words(c, &d->commands[k], 1); k++) {
            const struct command *each = &d->commands[k];
            if (each->n_words < 2 || (k > i && same_words(each, &d->commands[k - 1], 2))) continue;
            text_printf(&verbs, "%s%s", verbs.n ? ", " : "", each->words[1]);
        }
        columns(c->words[0], 12, text_cstr(&verbs));
    }
}

void help_top(void)
{
    printf("slctl talks to a Service Layer server.\n\nUsage: slctl [FLAGS] COMMAND [WORDS] [FLAGS]\n\nCommands of "
           "slctl:\n");
    for (const struct builtin *b = builtins; b->words; b++)
        if (b->usage) columns(b->words, 15, b->doc);
    options_finish();
    const struct document *d = document_look();
    if (d)
        print_groups(d);
    else
        printf("\nThe server at %s cannot be asked for its commands now.\n", options.addr);
    print_flags();
    printf("\nMore help: slctl help COMMAND");
    for (size_t i = 0; i < sizeof topics / sizeof *topics; i++)
        printf(", slctl help %s", topics[i].name);
    printf("\n");
}

/* ---- one command ---- */
static void print_fields(const struct document *d, const struct fields *f, enum where where, const char *head)
{
    size_t pad = 0, n = 0;
    for (size_t i = 0; i < f->n; i++) {
        if (f->list[i].where != where) continue;
        size_t own = strlen(field_flag_name(f, &f->list[i])) + 2;
        if (own > pad) pad = own;
        n++;
    }
    if (n) printf("\n%s:\n", head);
    for (size_t i = 0; i < f->n; i++) {
        const struct field *each = &f->list[i];
        if (each->where != where) continue;
        json_t *initial = json_object_get(each->schema, "default");
        const char *more = each->required ? " (required)"
                           : initial      ? keep_text(" (default %s)", cell_text(initial, true))
                                          : "";
        const char *type = visible(each->schema ? type_words(d, each->schema) : "text");
        columns(keep_text("--%s", field_flag_name(f, each)), pad, keep_text("%s%s", type, visible(more)));
        if (*each->doc) columns("", pad, visible(each->doc));
    }
}

static void print_command(const struct document *d, const struct command *c)
{
    const struct fields *f = fields_of(d, c);
    struct text words = { 0 };
    const char *long_text = json_string_value(json_object_get(c->operation, "description"));
    for (size_t i = 0; i < f->n; i++)
        if (f->list[i].where == IN_PATH) text_printf(&words, " %s", visible(f->list[i].name));
    printf("Usage: slctl %s%s%s\n", visible(command_text(c)), text_cstr(&words), f->n || f->has_body ? " [FLAGS]" : "");
    if (*c->summary) printf("\n%s\n", visible(c->summary));
    if (long_text && strcmp(long_text, c->summary) != 0) printf("%s\n", visible(long_text));
    print_fields(d, f, IN_PATH, "Words, in this order, or flags");
    print_fields(d, f, IN_BODY, "Fields");
    print_fields(d, f, IN_QUERY, "Choices");
    print_fields(d, f, IN_HEADER, "Headers");
    printf("\n%s %s", c->method, visible(c->path));
    if (*c->module) printf(" of %s", visible(c->module));
    printf("\n");
}

int help_command(const struct document *d, char **words, int n)
{
    const struct command *own = command_find(d, words, n), *first = NULL;
    size_t under = commands_under(d, words, n, &first), pad = 0;
    if (own) print_command(d, own);
    if (own && under == 1) return DONE;
    if (own) printf("\n");
    printf("Commands:\n");
    for (size_t i = 0; i < under; i++) {
        size_t length = strlen(command_text(&first[i]));
        if (length > pad) pad = length;
    }
    for (size_t i = 0; i < under; i++)
        columns(visible(command_text(&first[i])), pad, visible(first[i].summary));
    const char *group = n ? words[0] : "";
    for (const struct builtin *b = builtins; b->words; b++)
        if (b->usage && starts(b->words, keep_text("%s ", group))) columns(b->words, pad, b->doc);
    return DONE;
}
