/* man.c - `slctl help man`: the manual page, out of the same texts as the help (man(7) macros). */
#include "slctl.h"
#include <stdio.h>
#include <string.h>

/* Text as roff takes it literally: no escapes, no requests at the start of a line, dashes that can be copied. */
static void literal(const char *s)
{
    bool start = true;
    for (; *s; s++) {
        if (start && (*s == '.' || *s == '\'')) printf("\\&");
        if (*s == '\\')
            printf("\\e");
        else if (*s == '-')
            printf("\\-");
        else
            putchar(*s);
        start = *s == '\n';
    }
}

static void entry(const char *left, const char *more, const char *doc)
{
    printf(".TP\n.B ");
    literal(left);
    if (*more) printf(" ");
    literal(more);
    printf("\n");
    literal(doc);
    printf("\n");
}

static void section(const char *head) { printf(".SH %s\n", head); }

/* A topic of the help: its first line is a heading already. */
static void topic(const char *head, const char *text)
{
    section(head);
    printf(".nf\n");
    literal(strchr(text, '\n') + 1);
    printf(".fi\n");
}

void man_page(void)
{
    const char *words;
    printf(".TH SLCTL 1 \"\" \"Service Layer %s\" \"User Commands\"\n", SL_VERSION);
    section("NAME");
    printf("slctl \\- command line client of a Service Layer server\n");
    section("SYNOPSIS");
    printf(".B slctl\n[\\fIFLAGS\\fR] \\fICOMMAND\\fR [\\fIWORDS\\fR] [\\fIFLAGS\\fR]\n");
    section("DESCRIPTION");
    literal("slctl makes its commands out of the OpenAPI document of the server: each plugin brings its own. "
            "`slctl help` lists them, `slctl COMMAND --help` describes one.\n");
    section("COMMANDS OF SLCTL");
    for (const struct builtin *b = builtins; b->words; b++)
        if (b->usage) entry(b->words, b->usage, b->doc);
    section("FLAGS");
    for (const struct flag *f = global_flags; f->name; f++) {
        words = f->letter ? keep_text("-%c, --%s", f->letter, f->name) : keep_text("--%s", f->name);
        entry(words, f->value ? "VALUE" : "", f->doc);
    }
    topic("VALUES", help_text("values"));
    topic("ENVIRONMENT", help_text("environment"));
    topic("EXIT STATUS", help_text("exit-codes"));
    section("FILES");
    entry("~/.config/slctl/config.yaml", "", "contexts, with their tokens; mode 0600");
    entry("~/.cache/slctl", "", "the documents of servers");
}
