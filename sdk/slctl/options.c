/* options.c - the flags that every command takes, and where their values come from when they are not given. */
#include "slctl.h"
#include <stdlib.h>
#include <string.h>

struct options options;
static const char default_address[] = "http://127.0.0.1:8080";

const struct flag global_flags[] = {
    { "addr", 0, true, "address of the server; SERVICE_LAYER_ADDR; http://127.0.0.1:8080" },
    { "token", 0, true, "bearer token, or @FILE; SERVICE_LAYER_TOKEN" },
    { "refresh-token", 0, true, "asked for a new token when the old one is refused; SERVICE_LAYER_REFRESH_TOKEN" },
    { "tenant", 0, true, "tenant; SERVICE_LAYER_TENANT" },
    { "account", 0, true, "account for commands that need one; SERVICE_LAYER_ACCOUNT" },
    { "context", 0, true, "context to use instead of the current one; SLCTL_CONTEXT" },
    { "ca-file", 0, true, "certificates to trust (PEM); SERVICE_LAYER_CA_FILE" },
    { "timeout", 0, true,
      "time for a request with its repetitions; 15s, or more where the server says so; SERVICE_LAYER_TIMEOUT" },
    { "output", 'o', true, "json, yaml, table or wide; table on a terminal, else json; SLCTL_OUTPUT" },
    { "file", 'f', true, "body as JSON or YAML from a file, - is standard input" },
    { "all", 0, false, "all pages of a list" },
    { "watch", 'w', false, "repeat and show changes; --watch=5s sets the interval (2s)" },
    { "idempotency-key", 0, true, "key of this POST instead of a random one" },
    { "if-match", 0, true, "change only this version" },
    { "no-headers", 0, false, "tables without a head line" },
    { "refresh", 0, false, "ask the server for its commands instead of using the cached ones" },
    { "verbose", 'v', false, "show requests and answers without bodies on standard error; tokens are hidden" },
    { "help", 'h', false, "help for the command" },
    { NULL, 0, false, NULL },
};

/* FORMAT_AUTO: none. */
static enum format format_by_name(const char *name)
{
    static const char *const names[] = { "json", "yaml", "table", "wide" };
    for (size_t i = 0; i < 4; i++)
        if (strcmp(name, names[i]) == 0) return (enum format)(i + 1);
    return FORMAT_AUTO;
}

/* The token out of a file keeps it from the process list and the shell's history. */
static const char *token_text(const char *value)
{
    static const char *read_from, *read; /* the command line is read twice, standard input once */
    size_t n;
    if (*value != '@') return value;
    if (read_from == value) return read;
    char *text = read_file(value + 1, &n);
    while (n && (text[n - 1] == '\n' || text[n - 1] == '\r'))
        text[--n] = 0;
    read_from = value;
    return read = text;
}

static void set_format(const char *value)
{
    options.format = format_by_name(value);
    if (options.format == FORMAT_AUTO) fail(USAGE, "--output %s: must be json, yaml, table or wide.", visible(value));
}

static void set_timeout(const char *value, const char *from)
{
    options.timeout_ms = parse_ms(value);
    options.timeout_given = true;
    if (options.timeout_ms < 1) fail(USAGE, "%s %s: must be a duration like 15s or 500ms.", from, visible(value));
}

static void set_watch(const char *value)
{
    options.watch_ms = value ? parse_ms(value) : 2000;
    if (options.watch_ms < 100) fail(USAGE, "--watch=%s: must be a duration of at least 100ms.", visible(value));
}

static void set(const struct flag *f, const char *value)
{
    static const struct {
        const char *name;
        const char **to;
    } texts[] = {
        { "addr", &options.addr },         { "tenant", &options.tenant },
        { "account", &options.account },   { "context", &options.context },
        { "ca-file", &options.ca_file },   { "file", &options.file },
        { "if-match", &options.if_match }, { "idempotency-key", &options.idempotency_key },
    };
    static const struct {
        const char *name;
        bool *to;
    } switches[] = {
        { "all", &options.all },         { "no-headers", &options.no_headers },
        { "refresh", &options.refresh }, { "verbose", &options.verbose },
        { "help", &options.help },
    };
    if (strcmp(f->name, "output") == 0) set_format(value);
    if (strcmp(f->name, "timeout") == 0) set_timeout(value, "--timeout");
    if (strcmp(f->name, "watch") == 0) set_watch(value);
    if (strcmp(f->name, "token") == 0) options.token = token_text(value), options.token_given = true;
    if (strcmp(f->name, "refresh-token") == 0) options.refresh_token = token_text(value);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (strcmp(f->name, texts[i].name) == 0) *texts[i].to = value;
    for (size_t i = 0; i < sizeof switches / sizeof *switches; i++)
        if (strcmp(f->name, switches[i].name) == 0) *switches[i].to = true;
}

/* A letter with its value behind it (-ojson) or in the next word (-o json). */
static bool letter_flag(int argc, char **argv, int *i)
{
    const char *word = argv[*i];
    for (const struct flag *f = global_flags; f->name; f++) {
        if (!f->letter || word[1] != f->letter) continue;
        if (!f->value && word[2]) return false;
        if (f->value && !word[2] && *i + 1 >= argc) fail(USAGE, "-%c needs a value.", f->letter);
        set(f, !f->value ? NULL : word[2] ? word + 2 + (word[2] == '=') : argv[++*i]);
        return true;
    }
    return false;
}

bool global_flag(int argc, char **argv, int *i)
{
    const char *word = argv[*i];
    if (word[0] != '-' || !word[1]) return false;
    if (word[1] != '-') return letter_flag(argc, argv, i);
    size_t n = strcspn(word + 2, "=");
    const char *value = word[2 + n] ? word + 3 + n : NULL;
    for (const struct flag *f = global_flags; f->name; f++) {
        if (strlen(f->name) != n || memcmp(f->name, word + 2, n) != 0) continue;
        if (value && !f->value && strcmp(f->name, "watch") != 0) fail(USAGE, "--%s takes no value.", f->name);
        if (f->value && !value) {
            if (*i + 1 >= argc) fail(USAGE, "--%s needs a value.", f->name);
            value = argv[++*i];
        }
        set(f, value);
        return true;
    }
    return false;
}

bool connection_flag(const char *name)
{
    static const char *const names[] = { "addr", "context", "ca-file", "token", "refresh-token" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) return true;
    return false;
}

void connection_flags(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        bool quick = strcmp(argv[i], "-v") == 0 || strcmp(argv[i], "--verbose") == 0 ||
                     strcmp(argv[i], "--refresh") == 0;
        const char *name = starts(argv[i], "--") ? argv[i] + 2 : "";
        if (quick || connection_flag(keep_copy(name, strcspn(name, "=")))) global_flag(argc, argv, &i);
    }
}

static const char *env(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

/* `addr` in one form: with scheme, without a slash at the end. */
static const char *whole_address(const char *addr)
{
    size_t n;
    if (!strstr(addr, "://")) addr = keep_text("http://%s", addr);
    n = strlen(addr);
    while (n && addr[n - 1] == '/')
        n--;
    return keep_copy(addr, n);
}

/* First the command line, then the environment, then the context. A context's tokens go only to its own address. */
static void from_context(void)
{
    static const struct {
        const char *key;
        const char **to;
        bool secret;
    } keys[] = {
        { "addr", &options.addr, false },       { "token", &options.token, true },
        { "tenant", &options.tenant, false },   { "refresh_token", &options.refresh_token, true },
        { "account", &options.account, false }, { "ca_file", &options.ca_file, false },
    };
    const json_t *context = context_find(contexts_load(), options.context);
    if (options.context && !context)
        fail(USAGE, "There is no context \"%s\"; `slctl context list` shows them.", visible(options.context));
    const char *own = json_string_value(json_object_get(context, "addr"));
    own = whole_address(own ? own : default_address);
    bool elsewhere = options.addr && strcmp(whole_address(options.addr), own) != 0;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *value = json_string_value(json_object_get(context, keys[i].key));
        if (!value || !*value || *keys[i].to || (keys[i].secret && (elsewhere || options.token_given))) continue;
        *keys[i].to = value;
        options.from_context = options.from_context || keys[i].secret;
    }
    const char *output = json_string_value(json_object_get(context, "output"));
    if (options.format == FORMAT_AUTO && output) options.format = format_by_name(output);
}

static void check_address(void)
{
    options.addr = whole_address(options.addr ? options.addr : default_address);
    if (!starts(options.addr, "http://") && !starts(options.addr, "https://"))
        fail(USAGE, "--addr %s: must be an http:// or https:// address.", visible(options.addr));
    const char *host = strstr(options.addr, "://") + 3;
    if (!*host || *host == '/' || strpbrk(host, " \t\r\n?#@\\"))
        fail(USAGE, "--addr %s: must be scheme, host, port and perhaps a path.", visible(options.addr));
}

static void check_header_text(const char *flag, const char *value)
{
    for (const char *p = value; p && *p; p++)
        if ((unsigned char)*p < 0x21 || (unsigned char)*p > 0x7e)
            fail(USAGE, "--%s: must be visible ASCII characters without spaces.", flag);
}

void options_finish(void)
{
    const char *value;
    if (!options.context) options.context = env("SLCTL_CONTEXT");
    if (!options.token && (value = env("SERVICE_LAYER_TOKEN")))
        options.token = token_text(value), options.token_given = true;
    if (!options.refresh_token && (value = env("SERVICE_LAYER_REFRESH_TOKEN")))
        options.refresh_token = token_text(value);
    if (!options.addr) options.addr = env("SERVICE_LAYER_ADDR");
    if (!options.tenant) options.tenant = env("SERVICE_LAYER_TENANT");
    if (!options.account) options.account = env("SERVICE_LAYER_ACCOUNT");
    if (!options.ca_file) options.ca_file = env("SERVICE_LAYER_CA_FILE");
    if (options.format == FORMAT_AUTO && (value = env("SLCTL_OUTPUT"))) set_format(value);
    if (!options.timeout_ms && (value = env("SERVICE_LAYER_TIMEOUT"))) set_timeout(value, "SERVICE_LAYER_TIMEOUT");
    if (!options.timeout_ms) options.timeout_ms = 15000;
    from_context();
    check_address();
    check_header_text("token", options.token);
    check_header_text("tenant", options.tenant);
    check_header_text("idempotency-key", options.idempotency_key);
    if (options.idempotency_key && (!*options.idempotency_key || strlen(options.idempotency_key) > 255))
        fail(USAGE, "--idempotency-key: must have 1 to 255 characters.");
}
