/* complete.c - scripts that complete slctl's commands in bash, zsh and fish, and the words they ask for. */
#include "slctl.h"
#include <stdio.h>
#include <string.h>

static const char bash_script[] =
    "# bash completion of slctl: source <(slctl completion bash)\n"
    "_slctl() {\n"
    "    local word rest\n"
    "    COMPREPLY=()\n"
    "    while IFS=$'\\t' read -r word rest; do\n"
    "        COMPREPLY+=(\"$word\")\n"
    "    done < <(\"${COMP_WORDS[0]}\" __complete -- \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null)\n"
    "}\n"
    "complete -o default -F _slctl slctl\n";

static const char zsh_script[] =
    "#compdef slctl\n"
    "# zsh completion of slctl: source <(slctl completion zsh)\n"
    "_slctl() {\n"
    "    local line\n"
    "    local -a found\n"
    "    while IFS= read -r line; do\n"
    "        found+=(\"${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}\")\n"
    "    done < <(\"${words[1]}\" __complete -- \"${(@)words[2,CURRENT]}\" 2>/dev/null)\n"
    "    if (( ${#found} )); then _describe slctl found; else _files; fi\n"
    "}\n"
    "if [[ $funcstack[1] = _slctl ]]; then _slctl; else compdef _slctl slctl; fi\n"; /* a site function, or sourced */

static const char fish_script[] = "# fish completion of slctl: slctl completion fish | source\n"
                                  "function __slctl_complete\n"
                                  "    set -l words (commandline -opc)\n"
                                  "    $words[1] __complete -- $words[2..-1] (commandline -ct) 2>/dev/null\n"
                                  "end\n"
                                  "complete -c slctl -f -a '(__slctl_complete)'\n"
                                  "complete -c slctl -s f -l file -r -F\n"
                                  "complete -c slctl -l ca-file -r -F\n";

int completion_command(int argc, char **argv)
{
    static const struct {
        const char *shell, *script;
    } scripts[] = { { "bash", bash_script }, { "zsh", zsh_script }, { "fish", fish_script } };
    for (size_t i = 0; argc == 1 && i < 3; i++)
        if (strcmp(argv[0], scripts[i].shell) == 0) {
            fputs(scripts[i].script, stdout);
            return DONE;
        }
    fail(USAGE, "slctl completion: name one of bash, zsh, fish.");
}

/* ---- the words ---- */
struct ask {
    const char *current;
    const char *prefix; /* put before each word: "--output=" */
    const char *last;   /* offered last: commands come sorted */
};

/* The document is someone else's text: what a shell could take for more than a word is not offered. */
static void offer(struct ask *a, const char *word, const char *doc)
{
    const char *p = word;
    while ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
           (*p && strchr("._:/@+-", *p)))
        p++;
    if (*p || !*word || !starts(word, a->current) || (a->last && strcmp(a->last, word) == 0)) return;
    a->last = keep_copy(word, strlen(word));
    printf("%s%s\t%s\n", a->prefix, word, visible(doc));
}

static void offer_values(struct ask *a, const char *name, const struct field *field)
{
    size_t i;
    json_t *each;
    const char *context;
    if (strcmp(name, "output") == 0 || strcmp(name, "o") == 0) {
        static const char *const formats[] = { "json", "yaml", "table", "wide" };
        for (i = 0; i < 4; i++)
            offer(a, formats[i], "");
    }
    if (strcmp(name, "context") == 0)
        json_object_foreach (json_object_get(contexts_load(), "contexts"), context, each)
            offer(a, context, "");
    if (!field) return;
    json_array_foreach (json_object_get(field->schema, "enum"), i, each)
        if (!json_is_object(each) && !json_is_array(each)) offer(a, value_text(each, ""), "");
    if (has_type(field->schema, "boolean")) offer(a, "false", ""), offer(a, "true", "");
}

static void offer_flags(struct ask *a, const struct fields *f)
{
    for (size_t i = 0; f && i < f->n; i++)
        if (f->list[i].where != IN_PATH) offer(a, keep_text("--%s", field_flag_name(f, &f->list[i])), f->list[i].doc);
    for (size_t i = 0; f && i < f->n; i++)
        if (f->list[i].where == IN_PATH) offer(a, keep_text("--%s", field_flag_name(f, &f->list[i])), f->list[i].doc);
    for (const struct flag *g = global_flags; g->name; g++)
        if (!f || !field_find(f, g->name)) offer(a, keep_text("--%s", g->name), g->doc);
}

/* The word at place n of what begins with these words. */
static void offer_words(struct ask *a, const struct document *d, char **words, int n)
{
    static const char *const verbs[] = { "list", "use", "set", "delete", "show" };
    const struct command *c = NULL;
    size_t under = d ? commands_under(d, words, n, &c) : 0;
    for (const struct builtin *b = builtins; b->words && n <= 1; b++) {
        size_t first = strcspn(b->words, " ");
        if (!b->usage || (n == 0 && b->words[first] && under)) continue;
        if (n == 0) offer(a, keep_copy(b->words, first), b->words[first] ? "" : b->doc);
        if (n == 1 && b->words[first] && strcmp(words[0], keep_copy(b->words, first)) == 0)
            offer(a, b->words + first + 1, b->doc);
    }
    if (n == 0) offer(a, "help", "Help for a command.");
    if (n == 1 && strcmp(words[0], "context") == 0)
        for (size_t i = 0; i < 5; i++)
            offer(a, verbs[i], "");
    if (n == 2 && strcmp(words[0], "context") == 0) offer_values(a, "context", NULL);
    if (n == 1 && strcmp(words[0], "completion") == 0) offer(a, "bash", ""), offer(a, "fish", ""), offer(a, "zsh", "");
    for (size_t i = 0; i < under; i++)
        if (c[i].n_words > n) offer(a, c[i].words[n], c[i].n_words == n + 1 ? c[i].summary : "");
}

/* Does the flag take the next word as its value? */
static bool takes_value(const struct fields *f, const char *word, const char **name)
{
    if (!starts(word, "-") || strchr(word, '=')) return false;
    *name = word + (word[1] == '-' ? 2 : 1);
    const struct field *field = f && word[1] == '-' ? field_find(f, *name) : NULL;
    if (field) return !is_switch(field->schema);
    for (const struct flag *g = global_flags; g->name; g++)
        if (strcmp(g->name, *name) == 0 || (word[1] == g->letter && !word[2] && word[1] != '-')) return g->value;
    return false;
}

/* The command's words among those before the cursor; flags and their values stand between them. */
static int plain_words(const struct document *d, int argc, char **argv, char **words, const struct fields **f)
{
    int n = 0;
    const char *name;
    for (int i = 0; i < argc; i++) {
        if (argv[i][0] == '-') {
            i += takes_value(*f, argv[i], &name) && (i + 1 >= argc || strcmp(argv[i + 1], "=") != 0) ? 1 : 0;
            continue;
        }
        if (strcmp(argv[i], "=") == 0) {
            i++;
            continue;
        }
        if ((n == 0 && strcmp(argv[i], "help") == 0) || n == MAX_WORDS) continue;
        words[n++] = argv[i];
        const struct command *c = d ? command_find(d, words, n) : NULL;
        if (c) *f = fields_of(d, c);
    }
    return n;
}

int complete_command(int argc, char **argv)
{
    char *words[MAX_WORDS];
    const struct fields *f = NULL;
    const char *name = NULL;
    struct ask a = { "", "", NULL };
    if (argc && strcmp(argv[0], "--") == 0) argc--, argv++;
    if (argc) a.current = argv[--argc];
    connection_flags(argc, argv);
    options_finish();
    if (options.timeout_ms > 2000) options.timeout_ms = 2000;
    const struct document *d = document_get(FROM_CACHE_ONLY);
    if (!d) d = document_look();
    int n = plain_words(d, argc, argv, words, &f);
    const char *before = argc ? argv[argc - 1] : "";
    if (strcmp(a.current, "=") == 0) { /* bash takes --flag=value for three words */
        a.current = "";
    } else if (strcmp(before, "=") == 0 && argc > 1) {
        before = argv[argc - 2];
    } else if (starts(a.current, "--") && strchr(a.current, '=')) {
        before = keep_copy(a.current, strcspn(a.current, "="));
        a.prefix = keep_text("%s=", before);
        a.current += strlen(a.prefix);
    }
    if (takes_value(f, before, &name) || *a.prefix) {
        if (*a.prefix) name = before + 2;
        offer_values(&a, name, f ? field_find(f, name) : NULL);
    } else if (*a.current == '-') {
        offer_flags(&a, f);
    } else {
        offer_words(&a, d, words, n);
    }
    return DONE;
}
