/* args.c - the words and flags behind a command as a request: path, query, headers, body. */
#include "slctl.h"
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

struct parsed {
    const struct document *d;
    const struct command *c;
    const struct fields *f;
    json_t *in[4]; /* by enum where: name to value */
    char *words[MAX_WORDS];
    int n_words;
};

static const struct field *last_path_field(const struct fields *f)
{
    const struct field *last = NULL;
    for (size_t i = 0; i < f->n; i++)
        if (f->list[i].where == IN_PATH) last = &f->list[i];
    return last;
}

static const struct field *in_body(const struct fields *f, const char *path)
{
    const char *name = keep_copy(path, strcspn(path, "."));
    for (size_t i = 0; i < f->n; i++)
        if (f->list[i].where == IN_BODY && word_is(name, f->list[i].name)) return &f->list[i];
    return NULL;
}

/* What a flag's name means: the field, the rest of a dotted path, and whether its value is a file or `false`. */
struct meaning {
    const struct field *field;
    const char *below;
    bool file, off;
};

static struct meaning meaning_of(const struct fields *f, const char *flag)
{
    size_t n = strcspn(flag, ".");
    struct meaning m = { .below = flag[n] ? flag + n + 1 : NULL };
    const char *name = keep_copy(flag, n);
    if (m.below && strcmp(name, "body") == 0 &&
        (m.field = in_body(f, m.below))) { /* when its name means something else */
        const char *dot = strchr(m.below, '.');
        m.below = dot ? dot + 1 : NULL;
        return m;
    }
    if (!(m.field = field_find(f, name)) && !m.below) {
        if (starts(name, "no-") && (m.field = field_find(f, name + 3)) && is_switch(m.field->schema))
            m.off = true;
        else if (n > 5 && strcmp(name + n - 5, "-file") == 0 && (m.field = field_find(f, keep_copy(name, n - 5))))
            m.file = true;
        else if (strcmp(name, "id") == 0)
            m.field = last_path_field(f);
        else
            m.field = NULL;
    }
    if (m.below && m.field && m.field->where != IN_BODY && m.field->where != IN_QUERY) m.field = NULL;
    return m;
}

static void set_field(struct parsed *p, struct meaning m, const char *text)
{
    const struct field *field = m.field;
    json_t *own = field->schema || field->where == IN_BODY ? field->schema
                                                           : keep_json(json_pack("{s:s}", "type", "string"));
    json_t *schema = keep_json(json_pack("{s:{s:O?}}", "properties", field->name, own));
    const char *path = m.below ? keep_text("%s.%s", field->name, m.below) : field->name;
    value_set(p->d, schema, p->in[field->where], path, m.file ? keep_text("@%s", text) : text);
}

/* A field of the command comes before a global flag of the same name, unless that flag says whom to talk to. */
static bool field_flag(struct parsed *p, int argc, char **argv, int *i)
{
    const char *word = argv[*i];
    if (!starts(word, "--") || !word[2]) return false;
    size_t n = strcspn(word + 2, "=");
    const char *value = word[2 + n] ? word + 3 + n : NULL;
    const char *name = keep_copy(word + 2, n);
    struct meaning m = meaning_of(p->f, name);
    if (!m.field || connection_flag(name)) return false;
    bool next = *i + 1 < argc;
    if (m.off) {
        if (value) fail(USAGE, "%s takes no value.", visible(word));
        value = "false";
    } else if (!value && !m.below && is_switch(m.field->schema)) {
        bool said = next && (strcmp(argv[*i + 1], "true") == 0 || strcmp(argv[*i + 1], "false") == 0);
        value = said ? argv[++*i] : "true";
    } else if (!value) {
        if (!next) fail(USAGE, "%s needs a value.", visible(word));
        value = argv[++*i];
    }
    set_field(p, m, value);
    return true;
}

bool flags_known(const struct document *d, const struct command *c, int argc, char **argv)
{
    const struct fields *f = fields_of(d, c);
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (!starts(argv[i], "--")) continue;
        const char *name = keep_copy(argv[i] + 2, strcspn(argv[i] + 2, "="));
        bool known = meaning_of(f, name).field != NULL;
        for (const struct flag *g = global_flags; g->name; g++)
            known = known || strcmp(g->name, name) == 0;
        if (!known) return false;
    }
    return true;
}

static void parse(struct parsed *p, int argc, char **argv)
{
    bool flags = true;
    for (int i = 0; i < argc; i++) {
        if (flags && strcmp(argv[i], "--") == 0) {
            flags = false;
            continue;
        }
        if (flags && argv[i][0] == '-' && argv[i][1]) {
            if (field_flag(p, argc, argv, &i) || global_flag(argc, argv, &i)) continue;
            fail(USAGE, "There is no flag %s; `slctl %s --help` lists them.", visible(argv[i]), command_text(p->c));
        }
        if (p->n_words == MAX_WORDS) fail(USAGE, "Too many words: %s.", visible(argv[i]));
        p->words[p->n_words++] = argv[i];
    }
}

/* ---- the path ---- */
/* Words fill what is missing of the path from the left. The default account steps in where the words do not reach, but
 * never names the thing itself: `accounts delete` without a word deletes nothing. */
static void fill_path(struct parsed *p)
{
    size_t n = strlen(p->c->path);
    int missing = 0, next = 0;
    bool own = n > 10 && strcmp(p->c->path + n - 10, "/{account}") == 0;
    for (size_t i = 0; i < p->f->n; i++)
        missing += p->f->list[i].where == IN_PATH && !json_object_get(p->in[IN_PATH], p->f->list[i].name);
    for (size_t i = 0; i < p->f->n; i++) {
        const struct field *field = &p->f->list[i];
        if (field->where != IN_PATH || json_object_get(p->in[IN_PATH], field->name)) continue;
        bool account = strcmp(field->name, "account") == 0 && !own && options.account && p->n_words < missing;
        if (!account && next >= p->n_words)
            fail(USAGE, "%s is missing: give it as a word or with --%s.", visible(field->name), flag_name(field->name));
        const char *word = account ? options.account : p->words[next++];
        if (*word == '@') word = keep_text("@%s", word); /* only flags read files */
        set_field(p, (struct meaning){ .field = field }, word);
    }
    if (next < p->n_words) fail(USAGE, "Unexpected word: %s.", visible(p->words[next]));
}

static const char *path_text(const struct parsed *p)
{
    struct text out = { 0 };
    for (const char *at = p->c->path; *at;) {
        const char *end = *at == '{' ? strchr(at, '}') : NULL;
        if (!end) {
            text_add(&out, at++, 1);
            continue;
        }
        const char *name = keep_copy(at + 1, (size_t)(end - at - 1));
        const char *value = value_text(json_object_get(p->in[IN_PATH], name), name);
        if (!*value) fail(USAGE, "%s must not be empty.", visible(name));
        text_add_cstr(&out, url_escape(value));
        at = end + 1;
    }
    return text_cstr(&out);
}

static void add_query(struct text *out, const char *name, const char *value)
{
    text_printf(out, "%s%s=%s", out->n ? "&" : "?", url_escape(name), url_escape(value));
}

static const char *query_text(const struct parsed *p)
{
    struct text out = { 0 };
    const char *name;
    json_t *v, *each;
    size_t i;
    json_object_foreach (p->in[IN_QUERY], name, v) {
        if (!json_is_array(v)) add_query(&out, name, value_text(v, name));
        json_array_foreach (v, i, each)
            add_query(&out, name, value_text(each, name));
    }
    return text_cstr(&out);
}

/* ---- the body ---- */
json_t *file_body(const char *path)
{
    size_t n;
    json_error_t error;
    char *text = read_file(path, &n), *first = text + strspn(text, " \t\r\n");
    const char *name = strcmp(path, "-") == 0 ? "standard input" : path;
    if (*first != '{' && *first != '[') return yaml_read(text, n, name);
    json_t *v = keep_json(json_loadb(text, n, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error));
    if (!v) fail(USAGE, "%s:%d: %s.", name, error.line, visible(error.text));
    return v;
}

static void need_all(const struct parsed *p, const json_t *body)
{
    struct text missing = { 0 };
    for (size_t i = 0; i < p->f->n; i++) {
        const struct field *f = &p->f->list[i];
        const json_t *have = f->where == IN_BODY ? body : p->in[f->where];
        if (f->required && !json_object_get(have, f->name))
            text_printf(&missing, "%s--%s", missing.n ? ", " : "", field_flag_name(p->f, f));
    }
    if (missing.n) fail(USAGE, "Missing: %s. `slctl %s --help` describes them.", missing.p, command_text(p->c));
}

static void add_body(const struct parsed *p, struct call *call)
{
    json_t *body = p->in[IN_BODY];
    if (options.file && !p->f->has_body)
        fail(USAGE, "slctl %s takes no body: --file has no meaning here.", command_text(p->c));
    if (options.file) {
        json_t *file = file_body(options.file);
        if (json_object_size(body) && !json_is_object(file))
            fail(USAGE, "%s holds no object that flags could be added to.", options.file);
        if (json_is_object(file)) json_object_update_recursive(file, body);
        body = file;
    }
    if (json_is_object(body)) need_all(p, body);
    if (!p->f->has_body) return;
    char *text = json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!text) fail(USAGE, "The body cannot be written as JSON.");
    call->body_size = strlen(text);
    call->body = keep_copy(text, call->body_size);
    free(text);
}

/* RFC 9562, version 4. */
static const char *random_uuid(void)
{
    unsigned char b[16];
    if (RAND_bytes(b, sizeof b) != 1) abort();
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    return keep_text("%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3],
                     b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

static void add_headers(struct parsed *p, struct call *call)
{
    const char *name, *match = options.if_match;
    json_t *v;
    call->headers = keep_json(json_object());
    json_object_foreach (p->in[IN_HEADER], name, v) {
        const char *text = value_text(v, name);
        if (strpbrk(text, "\r\n")) fail(USAGE, "--%s: must be one line.", visible(name));
        json_object_set_new(call->headers, name, json_string(text));
    }
    bool post = strcmp(call->method, "POST") == 0;
    if (options.idempotency_key && !post) fail(USAGE, "--idempotency-key: only commands that POST take one.");
    if (post)
        json_object_set_new(call->headers, "Idempotency-Key",
                            json_string(options.idempotency_key ? options.idempotency_key : random_uuid()));
    if (!match) return;
    if (strpbrk(match, "\r\n")) fail(USAGE, "--if-match: must be one line.");
    bool bare = strcmp(match, "*") != 0 && !strchr(match, '"');
    json_object_set_new(call->headers, "If-Match", json_string(bare ? keep_text("\"%s\"", match) : match));
}

struct call command_call(const struct document *d, const struct command *c, int argc, char **argv)
{
    struct parsed p = { .d = d, .c = c, .f = fields_of(d, c) };
    for (size_t i = 0; i < 4; i++)
        p.in[i] = keep_json(json_object());
    parse(&p, argc, argv);
    options_finish();
    struct call call = { .method = c->method };
    if (options.help) return call;
    fill_path(&p);
    add_body(&p, &call);
    call.path = keep_text("%s%s", path_text(&p), query_text(&p));
    add_headers(&p, &call);
    return call;
}
