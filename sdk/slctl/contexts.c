/* contexts.c - named servers with their token, tenant and account, kept in ~/.config/slctl/config.yaml. */
#include "slctl.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *config_path(void)
{
    const char *dir = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (getenv("SLCTL_CONFIG") && *getenv("SLCTL_CONFIG")) return getenv("SLCTL_CONFIG");
    if (dir && *dir == '/') return keep_text("%s/slctl/config.yaml", dir);
    return home && *home ? keep_text("%s/.config/slctl/config.yaml", home) : NULL;
}

static void check_shape(const json_t *config, const char *path)
{
    const char *name;
    json_t *one;
    json_t *contexts = json_object_get(config, "contexts");
    if (!json_is_object(config) || (contexts && !json_is_object(contexts)))
        fail(USAGE, "%s: must hold `current` and `contexts`.", path);
    json_object_foreach (contexts, name, one)
        if (!json_is_object(one)) fail(USAGE, "%s: contexts.%s must hold fields.", path, visible(name));
}

json_t *contexts_read(void)
{
    struct stat st;
    size_t n;
    const char *path = config_path();
    if (!path || (stat(path, &st) != 0 && (errno == ENOENT || errno == ENOTDIR)))
        return keep_json(json_pack("{s:{}}", "contexts"));
    char *text = read_file(path, &n);
    json_t *config = yaml_read(text, n, path);
    check_shape(config, path);
    if (stat(path, &st) == 0 && (st.st_mode & 077)) warn("%s can be read by others: chmod 600 it.", path);
    if (!json_object_get(config, "contexts")) json_object_set_new(config, "contexts", json_object());
    return config;
}

json_t *contexts_load(void)
{
    static json_t *loaded;
    if (!loaded) loaded = contexts_read();
    return loaded;
}

int contexts_lock(void)
{
    const char *path = config_path();
    int fd = path ? open(keep_text("%s.lock", path), O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (fd >= 0 && flock(fd, LOCK_EX) == 0) return fd;
    if (fd >= 0) close(fd);
    return -1;
}

json_t *contexts_change(void)
{
    static int lock = -1; /* goes with the process */
    if (lock < 0) lock = contexts_lock();
    return contexts_read();
}

void contexts_save(json_t *config)
{
    struct text out = { 0 };
    const char *path = config_path();
    if (!path) fail(LOCAL, "HOME is not set: there is no place for the configuration.");
    yaml_write(&out, config);
    if (!write_private(path, text_cstr(&out), out.n)) fail(LOCAL, "%s: %s.", path, strerror(errno));
}

const json_t *context_find(json_t *config, const char *name)
{
    if (!name) name = json_string_value(json_object_get(config, "current"));
    return name ? json_object_get(json_object_get(config, "contexts"), name) : NULL;
}

static json_t *context_need(json_t *config, const char *name)
{
    json_t *context = (json_t *)context_find(config, name);
    if (!context) fail(USAGE, "There is no context \"%s\"; `slctl context list` shows them.", visible(name));
    return context;
}

static json_t *hidden(const json_t *context)
{
    json_t *copy = keep_json(json_deep_copy(context));
    static const char *const secret[] = { "token", "refresh_token" };
    for (size_t i = 0; i < 2; i++)
        if (json_object_get(copy, secret[i])) json_object_set_new(copy, secret[i], json_string("(hidden)"));
    return copy;
}

static int list(json_t *config)
{
    json_t *items = keep_json(json_array()), *context;
    const char *name, *current = json_string_value(json_object_get(config, "current"));
    json_object_foreach (json_object_get(config, "contexts"), name, context) {
        json_t *row = json_pack("{s:b, s:s}", "current", current && strcmp(current, name) == 0, "name", name);
        json_object_update(row, hidden(context));
        json_array_append_new(items, row);
    }
    json_t *all = keep_json(json_pack("{s:O}", "items", items));
    struct column columns[] = { { "current", 0 }, { "name", 0 }, { "addr", 0 }, { "tenant", 0 }, { "account", 0 } };
    if (output_format() == FORMAT_TABLE || output_format() == FORMAT_WIDE)
        table_print(items, columns, 5, true, !options.no_headers);
    else
        print_value(all, NULL, NULL);
    return DONE;
}

/* `context set NAME` keeps what the flags say; an empty value takes a field away. */
static int set(json_t *config, const char *name)
{
    const struct {
        const char *key, *value;
    } fields[] = {
        { "addr", options.addr },     { "token", options.token },     { "refresh_token", options.refresh_token },
        { "tenant", options.tenant }, { "account", options.account }, { "ca_file", options.ca_file },
    };
    static const char *const formats[] = { NULL, "json", "yaml", "table", "wide" };
    json_t *contexts = json_object_get(config, "contexts"), *context = json_object_get(contexts, name);
    if (!*name || strlen(name) > 128) fail(USAGE, "The name of a context has 1 to 128 characters.");
    if (!context) {
        context = json_object();
        if (json_object_set_new(contexts, name, context) != 0) fail(USAGE, "The name of a context must be UTF-8.");
    }
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (fields[i].value && *fields[i].value)
            json_object_set_new(context, fields[i].key, json_string(fields[i].value));
        else if (fields[i].value)
            json_object_del(context, fields[i].key);
    }
    if (options.format) json_object_set_new(context, "output", json_string(formats[options.format]));
    if (!json_object_get(config, "current")) json_object_set_new(config, "current", json_string(name));
    contexts_save(config);
    return DONE;
}

int context_command(int argc, char **argv)
{
    json_t *config = contexts_load();
    const char *words[2] = { "list", NULL };
    for (int i = 0, n = 0; i < argc; i++) {
        if (global_flag(argc, argv, &i)) continue;
        if (n == 2 || argv[i][0] == '-') fail(USAGE, "slctl context: unexpected %s.", visible(argv[i]));
        words[n++] = argv[i];
    }
    const char *verb = words[0], *name = words[1];
    if (strcmp(verb, "list") == 0 && !name) return list(config);
    if (strcmp(verb, "show") == 0) {
        if (!name) name = json_string_value(json_object_get(config, "current"));
        if (!name) fail(USAGE, "No context is in use; name one.");
        print_value(hidden(context_need(config, name)), NULL, NULL);
        return DONE;
    }
    if (!name) fail(USAGE, "slctl context %s NAME: the name is missing.", visible(verb));
    config = contexts_change();
    if (strcmp(verb, "set") == 0) return set(config, name);
    context_need(config, name);
    if (strcmp(verb, "use") == 0) {
        json_object_set_new(config, "current", json_string(name));
    } else if (strcmp(verb, "delete") == 0) {
        const char *current = json_string_value(json_object_get(config, "current"));
        if (current && strcmp(current, name) == 0) json_object_del(config, "current");
        json_object_del(json_object_get(config, "contexts"), name);
    } else {
        fail(USAGE, "slctl context %s: must be list, use, set, delete or show.", visible(verb));
    }
    contexts_save(config);
    return DONE;
}
