/* main.c - slctl: takes the command line apart and finds the command that its words mean. */
#include "slctl.h"
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- commands that are slctl's own ---- */
static int version_command(int argc, char **argv)
{
    (void)argv;
    if (argc) fail(USAGE, "slctl version takes no words.");
    printf("slctl %s\n", SL_VERSION);
    return DONE;
}

const struct builtin builtins[] = {
    { "status", status_command, "", "Health, version, store and modules of the server on one screen." },
    { "health", health_command, "", "One word, ok or what is wrong; the exit code tells the same." },
    { "explain", explain_command, "WORDS", "Fields that a command takes and gives: slctl explain oracle.sources" },
    { "context", context_command, "list|use|set|delete|show [NAME]", "Named servers with token, tenant and account." },
    { "login", login_command, "[--username NAME] [--password @FILE] | --token @FILE",
      "Sign in and keep the session, or a token, in a context." },
    { "logout", logout_command, "", "End the session and forget the context's token." },
    { "completion", completion_command, "bash|zsh|fish", "Print a script that completes commands in your shell." },
    { "version", version_command, "", "Version of slctl." },
    { "audit verify", audit_verify_command, "[--head HASH] FILE...",
      "Check files of the audit log, oldest first; needs no server. --head: a hash that was kept elsewhere." },
    { "bus events tail", events_tail_command, "[--topic T] [--count N] [--last-event-id ID]",
      "Print events as they are published, from now on or from behind the one named." },
    { "diag bundle", diag_command, "[--log FILE]... [--to FILE]",
      "Collect what a report needs into a .tar.gz; secrets are removed." },
    { "__complete", complete_command, NULL, NULL },
    { NULL, NULL, NULL, NULL },
};

/* The operationId that words of the original's slctl mean, where it is called otherwise here. */
static const char *alias_of(const char *words)
{
    static const struct {
        const char *words, *id;
    } aliases[] = {
        { "oracle requests retry", "oracle.requests.replay" },
        { "random generate", "random.create" },
        { "services list", "modules.list" },
        { "services", "modules.list" },
    };
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
        if (strcmp(words, aliases[i].words) == 0) return aliases[i].id;
    return NULL;
}

static const char *joined(char **words, int n, const char *between)
{
    struct text t = { 0 };
    for (int i = 0; i < n; i++)
        text_printf(&t, "%s%s", i ? between : "", words[i]);
    return text_cstr(&t);
}

static const struct builtin *builtin_find(char **words, int n, int *used)
{
    for (int k = n; k > 0; k--)
        for (const struct builtin *b = builtins; b->words; b++)
            if (strcmp(joined(words, k, " "), b->words) == 0) {
                *used = k;
                return b;
            }
    return NULL;
}

/* ---- commands out of the document ---- */
struct found {
    const struct command *command;
    int used; /* words that name it */
};

/* `slctl modules` means `slctl modules list`, and `slctl bus events --event x` the one that takes the flags. */
static const struct command *implied(const struct document *d, char **words, int n, int argc, char **argv)
{
    static const char *const verbs[] = { "list", "get", "create" };
    const struct command *first = NULL;
    char *more[MAX_WORDS];
    memcpy(more, words, (size_t)n * sizeof *more);
    for (size_t i = 0; i < 3; i++) {
        more[n] = (char *)verbs[i];
        const struct command *c = command_find(d, more, n + 1);
        if (c && flags_known(d, c, argc, argv) && (i < 2 || argc)) return c;
        if (!first && i < 2) first = c;
    }
    return first;
}

static struct found find(const struct document *d, char **words, int n, int argc, char **argv)
{
    struct found f = { NULL, 0 };
    for (f.used = n; f.used > 0; f.used--) {
        const char *alias = alias_of(joined(words, f.used, " "));
        f.command = command_find(d, words, f.used);
        if (!f.command && alias) f.command = command_by_id(d, alias);
        if (f.command) return f;
    }
    if (!n || n >= MAX_WORDS || commands_under(d, words, n, NULL) == 0) return f;
    f.command = implied(d, words, n, argc - n, argv + n);
    f.used = n;
    return f;
}

_Noreturn static void unknown(const struct document *d, char **words, int n)
{
    int k = n - 1;
    while (k > 0 && commands_under(d, words, k, NULL) == 0)
        k--;
    fail(USAGE, "There is no command \"%s\"; `slctl help%s%s` lists what there is.", visible(joined(words, n, " ")),
         k ? " " : "", visible(joined(words, k, " ")));
}

static int generated(int argc, char **argv, char **words, int n)
{
    connection_flags(argc - n, argv + n);
    options_finish();
    bool help = options.help;
    for (int i = n; i < argc && !help; i++)
        help = strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0;
    struct document *d = help && !options.refresh ? document_look() : NULL;
    if (!d) d = document_get(options.refresh ? FROM_SERVER : FROM_CACHE);
    struct found f = find(d, words, n, argc, argv);
    bool known = f.command && flags_known(d, f.command, argc - f.used, argv + f.used);
    if (!known && !d->fresh && !(help && f.command)) { /* a plugin may have come since the document was cached */
        d = document_get(FROM_SERVER);
        f = find(d, words, n, argc, argv);
    }
    if (help && (!f.command || commands_under(d, words, n, NULL) > 1) && commands_under(d, words, n, NULL))
        return help_command(d, words, n);
    if (f.command) return run_command(d, f.command, argc - f.used, argv + f.used);
    if (commands_under(d, words, n, NULL) == 0) unknown(d, words, n);
    help_command(d, words, n);
    return USAGE;
}

/* ---- the command line ---- */
/* `oracle.sources.list` is `oracle sources list`, and always means a command of the server. */
static char **split_first(int *argc, char **argv)
{
    char *copy = keep_copy(argv[0], strlen(argv[0])), *rest = NULL,
         **all = keep((size_t)(*argc + MAX_WORDS + 1) * sizeof *all);
    int n = 0;
    for (char *w = strtok_r(copy, ".", &rest); w && n < MAX_WORDS; w = strtok_r(NULL, ".", &rest))
        all[n++] = w;
    memcpy(all + n, argv + 1, (size_t)(*argc - 1) * sizeof *all);
    *argc += n - 1;
    return all;
}

static int dispatch(int argc, char **argv)
{
    int i = 0, used = 0;
    while (i < argc && argv[i][0] == '-' && argv[i][1]) {
        if (strcmp(argv[i], "--version") == 0) return version_command(0, NULL);
        if (!global_flag(argc, argv, &i))
            fail(USAGE, "There is no flag %s; `slctl help` lists them.", visible(argv[i]));
        i++;
    }
    argc -= i, argv += i;
    bool help = argc && strcmp(argv[0], "help") == 0;
    if (help) argc--, argv++, options.help = true;
    bool dotted = argc && argv[0][0] != '-' && strchr(argv[0], '.');
    if (dotted) argv = split_first(&argc, argv);
    int n = 0;
    while (n < argc && n < MAX_WORDS && argv[n][0] != '-')
        n++;
    if (n == 0 && argc && !help) fail(USAGE, "A command must stand before %s.", visible(argv[0]));
    if (n == 0) {
        help_top();
        return argc || help || options.help ? DONE : USAGE;
    }
    const struct builtin *b = dotted ? NULL : builtin_find(argv, n, &used);
    if (help && n == 1 && help_topic(argv[0])) return DONE;
    if (b && !(help && b->usage == NULL)) return options.help ? help_builtin(b) : b->run(argc - used, argv + used);
    return generated(argc, argv, argv, n);
}

int main(int argc, char **argv)
{
    if (!setlocale(LC_CTYPE, "C.UTF-8")) setlocale(LC_CTYPE, "");
    signal(SIGPIPE, SIG_IGN);
    int code = dispatch(argc - 1, argv + 1);
    output_flush();
    http_end();
    return code;
}
