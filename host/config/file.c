/* file.c - the configuration file: YAML (and so JSON) by libyaml into settings, every key with its line. */
#include "config/settings.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <unistd.h>

enum { ENTRIES_MAX = 1000, NODES_MAX = 100000, DEPTH_MAX = 32 };

struct origin config_at(const struct load *l, int line)
{
    return (struct origin){ FROM_FILE, line, l->cfg->pub.file.p };
}

static int line_of(const yaml_node_t *node) { return (int)node->start_mark.line + 1; }

sl_str config_scalar(const yaml_node_t *node)
{
    if (node->type != YAML_SCALAR_NODE) return sl_lit(NULL, 0);
    return sl_lit((const char *)node->data.scalar.value, node->data.scalar.length);
}

static bool is_plain(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

bool config_is_null(const yaml_node_t *node)
{
    sl_str s = config_scalar(node);
    return is_plain(node) && (s.n == 0 || sl_is(s, "~") || sl_is(s, "null") || sl_is(s, "Null") || sl_is(s, "NULL"));
}

size_t config_entries(struct load *l, yaml_document_t *doc, yaml_node_t *node, const char *path,
                      struct yaml_entry **out)
{
    size_t n = 0, room = (size_t)(node->data.mapping.pairs.top - node->data.mapping.pairs.start);
    if (room > ENTRIES_MAX) {
        config_complain(l, config_at(l, line_of(node)), path, "has more than %d keys", ENTRIES_MAX);
        room = ENTRIES_MAX;
    }
    *out = arena_alloc(l->cfg->pub.arena, (room + 1) * sizeof **out);
    for (size_t i = 0; i < room; i++) {
        const yaml_node_pair_t *pair = node->data.mapping.pairs.start + i;
        const yaml_node_t *key = yaml_document_get_node(doc, pair->key);
        struct yaml_entry e = { config_scalar(key), pair->value, line_of(key) };
        if (!sl_given(e.key) || memchr(e.key.p, 0, e.key.n)) {
            config_complain(l, config_at(l, e.line), path, "a key must be text");
            continue;
        }
        size_t j = 0;
        while (j < n && !sl_same((*out)[j].key, e.key))
            j++;
        if (j < n) {
            config_complain(l, config_at(l, e.line), path, "key `%.*s` is given twice, first in line %d",
                            STR_ARG(e.key), (*out)[j].line);
            continue;
        }
        e.key = arena_copy(l->cfg->pub.arena, e.key);
        (*out)[n++] = e;
    }
    return n;
}

/* A text by the rules of JSON: what is not clearly a number, a truth value or null stays text. */
static json_t *plain_json(sl_str s)
{
    int64_t i;
    double d;
    size_t at = s.n && s.p[0] == '-';
    bool number = s.n > at && isdigit((unsigned char)s.p[at]) &&
                  !(s.p[at] == '0' && s.n > at + 1 && isdigit((unsigned char)s.p[at + 1]));
    for (size_t j = at; j < s.n; j++)
        number = number && (isdigit((unsigned char)s.p[j]) || strchr(".eE+-", s.p[j]));
    if (sl_is(s, "true") || sl_is(s, "True") || sl_is(s, "TRUE")) return json_true();
    if (sl_is(s, "false") || sl_is(s, "False") || sl_is(s, "FALSE")) return json_false();
    if (number && str_to_int(s, &i)) return json_integer(i);
    if (number && str_to_real(s, &d) && isfinite(d)) return json_real(d);
    return json_stringn(s.p, s.n);
}

static json_t *yaml_list(struct load *l, yaml_document_t *doc, yaml_node_t *node, const char *path, int depth)
{
    json_t *list = json_array();
    for (yaml_node_item_t *i = node->data.sequence.items.start; i < node->data.sequence.items.top; i++) {
        json_t *v = config_yaml_json(l, doc, *i, path, depth + 1);
        if (!v) {
            json_decref(list);
            return NULL;
        }
        json_array_append_new(list, v);
    }
    return list;
}

json_t *config_yaml_json(struct load *l, yaml_document_t *doc, int at, const char *path, int depth)
{
    yaml_node_t *node = yaml_document_get_node(doc, at);
    struct origin o = config_at(l, line_of(node));
    if (depth > DEPTH_MAX || ++l->nodes > NODES_MAX) { /* aliases can make a small file endless */
        config_complain(l, o, path,
                        depth > DEPTH_MAX ? "is nested more than %d deep" : "the file has more than %d values",
                        depth > DEPTH_MAX ? DEPTH_MAX : NODES_MAX);
        return NULL;
    }
    if (node->type == YAML_SEQUENCE_NODE) return yaml_list(l, doc, node, path, depth);
    if (node->type == YAML_SCALAR_NODE) {
        sl_str s = config_scalar(node);
        json_t *v = config_is_null(node) ? json_null() : is_plain(node) ? plain_json(s) : json_stringn(s.p, s.n);
        if (!v) config_complain(l, o, path, "is not valid text");
        return v;
    }
    struct yaml_entry *e;
    size_t n = config_entries(l, doc, node, path, &e), before = l->failed;
    json_t *object = json_object();
    for (size_t i = 0; i < n; i++) {
        const char *below = arena_printf(l->cfg->pub.arena, "%s.%s", path, e[i].key.p).p;
        json_t *v = config_yaml_json(l, doc, e[i].value, below, depth + 1);
        if (v && json_object_set_new(object, e[i].key.p, v) != 0) config_complain(l, o, below, "is not valid text");
    }
    if (l->failed == before) return object;
    json_decref(object);
    return NULL;
}

static void set_from_node(struct load *l, const struct setting *s, yaml_document_t *doc, yaml_node_t *node, int line)
{
    struct origin o = config_at(l, line);
    sl_str scalar = config_scalar(node), *items;
    size_t n = 0;
    if (config_is_null(node)) return;
    if (sl_given(scalar)) {
        config_set(l, s, o, &scalar, 1, true);
        return;
    }
    if (node->type != YAML_SEQUENCE_NODE || s->type != SET_LIST) {
        config_complain(l, o, s->path,
                        s->type == SET_LIST ? "must be a list or text with commas" : "must be one value");
        return;
    }
    items = arena_alloc(l->cfg->pub.arena,
                        (size_t)(node->data.sequence.items.top - node->data.sequence.items.start + 1) * sizeof *items);
    for (yaml_node_item_t *i = node->data.sequence.items.start; i < node->data.sequence.items.top; i++) {
        const yaml_node_t *item = yaml_document_get_node(doc, *i);
        items[n] = config_scalar(item);
        if (sl_given(items[n++]) && !config_is_null(item)) continue;
        config_complain(l, config_at(l, line_of(item)), s->path, "each item must be one value");
        return;
    }
    config_set(l, s, o, items, n, false);
}

/* A section's name, or the section that begins a known path? */
static bool is_section(const char *path)
{
    size_t n = strlen(path);
    for (size_t i = 0; i < n_settings; i++)
        if (strncmp(settings[i].path, path, n) == 0 && settings[i].path[n] == '.') return true;
    return false;
}

static void unknown(struct load *l, const char *section, const char *path, sl_str key, int line)
{
    arena *a = l->cfg->pub.arena;
    const char *names[SETTINGS_ROOM + 1] = { NULL };
    size_t n = 0, skip = section[0] ? strlen(section) + 1 : 0;
    for (size_t i = 0; i < n_settings; i++) {
        if (skip && (strncmp(settings[i].path, section, skip - 1) != 0 || settings[i].path[skip - 1] != '.')) continue;
        const char *name = settings[i].path + skip, *dot = strchr(name, '.');
        names[n++] = dot ? arena_copy(a, sl_lit(name, (size_t)(dot - name))).p : name;
    }
    if (!skip) names[n++] = "plugins";
    const char *hint = str_nearest(key, names, n);
    for (size_t i = 0; !hint && i < n_settings; i++) { /* the right key in the wrong section */
        const char *dot = strrchr(settings[i].path, '.');
        if (dot && sl_is(key, dot + 1)) hint = settings[i].path;
    }
    if (hint)
        config_complain(l, config_at(l, line), path, "unknown key, did you mean `%s`?", hint);
    else
        config_complain(l, config_at(l, line), path, "unknown key");
}

static void read_section(struct load *l, yaml_document_t *doc, yaml_node_t *node, const char *section)
{
    struct yaml_entry *e;
    if (config_is_null(node)) return; /* a heading above nothing but comments */
    if (node->type != YAML_MAPPING_NODE) {
        config_complain(l, config_at(l, line_of(node)), section,
                        section[0] ? "must hold keys" : "the file must hold keys");
        return;
    }
    size_t n = config_entries(l, doc, node, section, &e);
    for (size_t i = 0; i < n; i++) {
        const char *path = section[0] ? arena_printf(l->cfg->pub.arena, "%s.%s", section, e[i].key.p).p : e[i].key.p;
        yaml_node_t *value = yaml_document_get_node(doc, e[i].value);
        size_t s = 0;
        while (s < n_settings && strcmp(settings[s].path, path) != 0)
            s++;
        if (s < n_settings)
            set_from_node(l, &settings[s], doc, value, e[i].line);
        else if (strcmp(path, "plugins") == 0)
            config_read_plugins(l, doc, value);
        else if (is_section(path))
            read_section(l, doc, value, path);
        else
            unknown(l, section, path, e[i].key, e[i].line);
    }
}

static char *read_all(const char *name, size_t *n)
{
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    buf b;
    ssize_t got = fd < 0 ? -1 : 1;
    buf_init(&b, CONFIG_FILE_MAX);
    while (got > 0) {
        char *room = buf_reserve(&b, 4096);
        if (!room) errno = EFBIG;
        got = room ? read(fd, room, 4096) : -1;
        if (got > 0) b.n += (size_t)got;
    }
    int error = errno;
    if (fd >= 0) close(fd);
    errno = error;
    *n = b.n;
    if (got < 0) buf_free(&b);
    return got < 0 ? NULL : b.p ? b.p : buf_reserve(&b, 1);
}

static void wipe_document(yaml_document_t *doc)
{
    for (yaml_node_t *node = doc->nodes.start; node < doc->nodes.top; node++)
        config_wipe(config_scalar(node));
    yaml_document_delete(doc);
}

static void complain_syntax(struct load *l, const yaml_parser_t *parser)
{
    struct origin o = config_at(l, (int)parser->problem_mark.line + 1);
    if (parser->error == YAML_READER_ERROR)
        config_complain(l, o, "", "%s at byte %zu", parser->problem ? parser->problem : "cannot be read",
                        parser->problem_offset);
    else
        config_complain(l, o, "", "column %zu: %s%s%s", parser->problem_mark.column + 1,
                        parser->problem ? parser->problem : "not YAML", parser->context ? ", " : "",
                        parser->context ? parser->context : "");
}

/* Only one document may stand in the file: what is behind it would be ignored silently. */
static void parse(struct load *l, yaml_parser_t *parser)
{
    yaml_document_t doc, more;
    if (!yaml_parser_load(parser, &doc)) {
        complain_syntax(l, parser);
        return;
    }
    yaml_node_t *root = yaml_document_get_root_node(&doc);
    if (root && !yaml_parser_load(parser, &more)) {
        complain_syntax(l, parser);
    } else if (root) {
        const yaml_node_t *second = yaml_document_get_root_node(&more);
        if (second) config_complain(l, config_at(l, line_of(second)), "", "a second document; put all keys into one");
        wipe_document(&more);
    }
    if (root) read_section(l, &doc, root, "");
    wipe_document(&doc);
}

void config_read_file(struct load *l, const char *name)
{
    yaml_parser_t parser;
    size_t n;
    char *text = read_all(name, &n);
    l->cfg->pub.file = arena_copy(l->cfg->pub.arena, sl_cstr(name));
    if (!text) {
        config_complain(l, (struct origin){ FROM_DEFAULT, 0, NULL }, name,
                        errno == EFBIG ? "larger than 1 MiB" : "cannot be read: %s", strerror(errno));
        return;
    }
    if (yaml_parser_initialize(&parser)) {
        yaml_parser_set_input_string(&parser, (const unsigned char *)text, n);
        parse(l, &parser);
        yaml_parser_delete(&parser);
    }
    explicit_bzero(text, n);
    free(text);
}
