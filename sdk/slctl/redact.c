/* redact.c - takes secrets out of JSON and text: values under telling names, credentials by their shape, known values.
 */
#include "slctl.h"
#include <regex.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;
static const char hidden[] = "(hidden)";

#define WORDS                                                                                                          \
    "(token|secret|password|passwd|passphrase|authorization|cookie|credential|api[_-]?key|private[_-]?key|"            \
    "encryption[_-]?key|signing[_-]?key|master[_-]?key|jwt|dsn|database[_-]?url)"

/* Each leaves its first group and, where there is one, hides what follows. */
static const char *const shapes[] = {
    "(-----BEGIN [A-Z ]*PRIVATE KEY-----).*",
    "((Bearer|Basic)[ ]+)[A-Za-z0-9._~+/=-]+",
    "(://)[^/@ \"']+@",
    "()eyJ[A-Za-z0-9_-]+[.][A-Za-z0-9_-]+[.][A-Za-z0-9_-]*",
    "([A-Za-z0-9_.-]*" WORDS "[A-Za-z0-9_.-]*[\"']?[ ]*[:=][ ]*)(\"([^\"\\]|\\\\.)*\"|'[^']*'|[^ ,;&}\"']+)",
};
enum {
    SHAPES = sizeof shapes / sizeof *shapes,
    KNOWN = 64,
    LONGEST = 64 << 10 /* matching takes memory by the text's length */
};
static regex_t compiled[SHAPES], telling;
static const char *known[KNOWN];
static size_t n_known;

static void know(const char *value)
{
    if (value && strlen(value) >= 6 && n_known < KNOWN) known[n_known++] = value;
}

/* Values that this process itself was given are never right in a bundle, whatever name they come under there. */
static void start(void)
{
    static bool started;
    if (started) return;
    started = true;
    for (size_t i = 0; i < SHAPES; i++)
        if (regcomp(&compiled[i], shapes[i], REG_EXTENDED | REG_ICASE) != 0) abort();
    if (regcomp(&telling, WORDS, REG_EXTENDED | REG_ICASE | REG_NOSUB) != 0) abort();
    know(options.token);
    know(options.refresh_token);
    for (char **e = environ; *e; e++) {
        char *is = strchr(*e, '=');
        if (!is || regexec(&telling, keep_copy(*e, (size_t)(is - *e)), 0, NULL, 0) != 0) continue;
        char *list = keep_copy(is + 1, strlen(is + 1)), *rest = list;
        know(is + 1);
        for (char *one = strsep(&rest, ","); one; one = strsep(&rest, ","))
            know(one);
    }
}

static const char *without(const char *text, const char *value)
{
    struct text out = { 0 };
    size_t n = strlen(value);
    const char *at = strstr(text, value);
    if (!at) return text;
    for (; at; text = at + n, at = strstr(text, value)) {
        text_add(&out, text, (size_t)(at - text));
        text_add_cstr(&out, hidden);
    }
    text_add_cstr(&out, text);
    return text_cstr(&out);
}

static const char *without_shape(const char *text, const regex_t *shape)
{
    struct text out = { 0 };
    regmatch_t m[2];
    if (regexec(shape, text, 2, m, 0) != 0) return text;
    int flags = 0;
    while (*text && regexec(shape, text, 2, m, flags) == 0 && m[0].rm_eo > 0) {
        text_add(&out, text, (size_t)(m[1].rm_eo > m[0].rm_so ? m[1].rm_eo : m[0].rm_so));
        text_add_cstr(&out, hidden);
        text += m[0].rm_eo;
        if (text[-1] == '@') text_add_cstr(&out, "@");
        flags = REG_NOTBOL;
    }
    text_add_cstr(&out, text);
    return text_cstr(&out);
}

const char *redact_text(const char *text)
{
    start();
    if (strlen(text) > LONGEST) text = keep_text("%s (cut)", keep_copy(text, LONGEST));
    for (size_t i = 0; i < n_known; i++)
        text = without(text, known[i]);
    for (size_t i = 0; i < SHAPES; i++)
        text = without_shape(text, &compiled[i]);
    return text;
}

static bool tells(const char *name) { return regexec(&telling, name, 0, NULL, 0) == 0; }

/* What clients sent or got is theirs, not the operator's to pass on. */
static bool is_content(const char *name)
{
    static const char *const names[] = { "payload", "body", "result", "metadata", "json", "args", "headers" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) return true;
    return false;
}

/* all: every text below is hidden. */
static json_t *redact(const json_t *v, bool all, int depth)
{
    const char *name;
    json_t *each, *copy;
    size_t i;
    if (depth > MAX_DEPTH) return json_string("(too deep)");
    if (json_is_string(v))
        return json_string(all && json_string_length(v) ? hidden : redact_text(json_string_value(v)));
    if (json_is_array(v)) {
        copy = json_array();
        json_array_foreach (v, i, each)
            json_array_append_new(copy, redact(each, all, depth + 1));
        return copy;
    }
    if (!json_is_object(v)) return json_deep_copy(v);
    const char *key = json_string_value(json_object_get(v, "key"));
    if (!key) key = json_string_value(json_object_get(v, "name"));
    if (!key) key = json_string_value(json_object_get(v, "path"));
    copy = json_object();
    json_object_foreach ((json_t *)v, name, each) {
        bool own_name = json_is_object(each) && strcmp(name, "secrets") == 0; /* the plugin of that name */
        bool value_of = key && strcmp(name, "value") == 0 && tells(key);
        if (is_content(name) && !json_is_null(each))
            json_object_set_new(copy, name, json_string("(left out)"));
        else
            json_object_set_new(copy, name, redact(each, all || value_of || (tells(name) && !own_name), depth + 1));
    }
    return copy;
}

json_t *redact_json(const json_t *v)
{
    start();
    return keep_json(redact(v, false, 0));
}

/* Line by line; a line that is JSON by its names. The lines of a private key are all hidden. */
void redact_lines(struct text *out, char *text)
{
    char why[256], *rest = text;
    bool in_key = false;
    start();
    for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
        size_t mark;
        if (!rest && !*line) return;
        if (!out->p) text_add(out, "", 0);
        mark = keep_mark();
        json_t *v = *line == '{' ? json_read(line, strlen(line), why, sizeof why) : NULL;
        bool begins = strstr(line, "-----BEGIN ") && strstr(line, "PRIVATE KEY");
        text_add_cstr(out, v ? json_text(redact_json(v)) : in_key && !begins ? hidden : redact_text(line));
        text_add_cstr(out, "\n");
        if (begins) in_key = true;
        if (strstr(line, "-----END ")) in_key = false;
        keep_release(mark);
    }
}
