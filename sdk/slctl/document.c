/* document.c - the server's OpenAPI document: fetched, cached by ETag, and read as a sorted list of commands. */
#include "slctl.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { CACHE_SECONDS = 60, CACHE_FILES = 32 };

/* ---- reading ---- */
json_t *resolve(const struct document *d, json_t *node)
{
    for (int hops = 0; node && hops < MAX_DEPTH; hops++) {
        const char *ref = json_string_value(json_object_get(node, "$ref"));
        if (!ref) return node;
        if (!starts(ref, "#/")) return NULL;
        node = d->root;
        for (const char *p = ref + 2; node; p++) {
            struct text part = { 0 };
            text_add(&part, "", 0);
            for (; *p && *p != '/'; p++) {
                if (*p == '~' && (p[1] == '0' || p[1] == '1'))
                    text_add(&part, *++p == '0' ? "~" : "/", 1);
                else
                    text_add(&part, p, 1);
            }
            node = json_is_array(node) ? json_array_get(node, (size_t)strtoul(part.p, NULL, 10))
                                       : json_object_get(node, part.p);
            if (!*p) break;
        }
    }
    return NULL;
}

static bool good_id(const char *id)
{
    if (strlen(id) > 200 || *id == '.' || *id == '-' || !*id) return false;
    for (const char *p = id; *p; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || *p == '_';
        if (!plain && *p != '-' && *p != '.') return false;
        if (*p == '.' && (p[1] == '.' || p[1] == '-' || !p[1])) return false;
    }
    return true;
}

static bool good_path(const char *path)
{
    if (*path != '/' || strlen(path) > 2000) return false;
    for (const char *p = path; *p; p++)
        if ((unsigned char)*p <= 0x20 || (unsigned char)*p > 0x7e || strchr("?#\\", *p)) return false;
    return true;
}

/* What cannot be a command (no or a strange operationId) is left out: the rest still works. */
static void add_command(struct document *d, const char *path, json_t *item, const char *method, json_t *operation)
{
    const char *id = json_string_value(json_object_get(operation, "operationId"));
    const char *summary = json_string_value(json_object_get(operation, "summary"));
    const char *module = json_string_value(json_object_get(operation, "x-sl-module"));
    if (!id || !good_id(id) || d->n >= MAX_COMMANDS) return;
    struct command *c = &d->commands[d->n];
    char *words = keep_copy(id, strlen(id)), *rest = NULL;
    c->n_words = 0;
    for (char *w = strtok_r(words, ".", &rest); w; w = strtok_r(NULL, ".", &rest)) {
        if (c->n_words == MAX_WORDS) return;
        c->words[c->n_words++] = w;
    }
    c->id = id;
    c->method = method;
    c->path = path;
    c->summary = summary ? summary : "";
    c->module = module ? module : "";
    c->operation = operation;
    c->path_item = item;
    d->n++;
}

/* Word by word: what is below a word stands together. */
static int by_words(const void *a, const void *b)
{
    const struct command *x = a, *y = b;
    for (int i = 0; i < x->n_words && i < y->n_words; i++) {
        int order = strcmp(x->words[i], y->words[i]);
        if (order) return order;
    }
    return x->n_words - y->n_words;
}

struct document *document_parse(const char *text, size_t n, char *why, size_t why_size)
{
    static const struct {
        const char *key, *method;
    } methods[] = { { "get", "GET" },     { "post", "POST" },     { "put", "PUT" },
                    { "patch", "PATCH" }, { "delete", "DELETE" }, { "head", "HEAD" } };
    const char *path;
    json_t *item;
    struct document *d = keep(sizeof *d);
    d->root = json_read(text, n, why, why_size);
    if (!d->root) return NULL;
    json_t *paths = json_object_get(d->root, "paths");
    const char *version = json_string_value(json_object_get(d->root, "openapi"));
    if (!version || !starts(version, "3.") || !json_is_object(paths)) {
        snprintf(why, why_size, "it is no OpenAPI 3 document");
        return NULL;
    }
    d->commands = keep(MAX_COMMANDS * sizeof *d->commands);
    json_object_foreach (paths, path, item) {
        if (!good_path(path)) continue;
        for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
            json_t *operation = json_object_get(item, methods[i].key);
            if (json_is_object(operation)) add_command(d, path, item, methods[i].method, operation);
        }
    }
    qsort(d->commands, d->n, sizeof *d->commands, by_words);
    return d;
}

/* ---- finding ---- */
bool word_is(const char *typed, const char *word)
{
    for (; *typed && *word; typed++, word++) {
        char a = *typed == '_' ? '-' : *typed, b = *word == '_' ? '-' : *word;
        if (a != b) return false;
    }
    return *typed == *word;
}

size_t commands_under(const struct document *d, char **words, int n, const struct command **first)
{
    size_t found = 0;
    for (size_t i = 0; i < d->n; i++) {
        const struct command *c = &d->commands[i];
        int w = 0;
        while (w < n && w < c->n_words && word_is(words[w], c->words[w]))
            w++;
        if (w < n) continue;
        if (found++ == 0 && first) *first = c;
    }
    return found;
}

const struct command *command_find(const struct document *d, char **words, int n)
{
    for (size_t i = 0; i < d->n; i++) {
        const struct command *c = &d->commands[i];
        int w = 0;
        while (c->n_words == n && w < n && word_is(words[w], c->words[w]))
            w++;
        if (c->n_words == n && w == n) return c;
    }
    return NULL;
}

const struct command *command_by_id(const struct document *d, const char *id)
{
    for (size_t i = 0; i < d->n; i++)
        if (strcmp(d->commands[i].id, id) == 0) return &d->commands[i];
    return NULL;
}

/* ---- the cache: a file an address; its first line is the ETag, the rest the document ---- */
static const char *cache_dir(void)
{
    const char *dir = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (dir && *dir == '/') return keep_text("%s/slctl", dir);
    return home && *home ? keep_text("%s/.cache/slctl", home) : NULL;
}

static const char *cache_path(void)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    struct text name = { 0 };
    const char *dir = cache_dir();
    if (!dir || !EVP_Digest(options.addr, strlen(options.addr), hash, &n, EVP_sha256(), NULL)) return NULL;
    for (unsigned i = 0; i < 16; i++)
        text_printf(&name, "%02x", (unsigned)hash[i]);
    return keep_text("%s/%s.openapi", dir, text_cstr(&name));
}

static bool older(const struct stat *a, const struct stat *b)
{
    if (a->st_mtim.tv_sec != b->st_mtim.tv_sec) return a->st_mtim.tv_sec < b->st_mtim.tv_sec;
    return a->st_mtim.tv_nsec < b->st_mtim.tv_nsec;
}

/* While there are too many, takes away the file that was not written for longest, but never `own`. */
static void cache_trim(const char *own)
{
    const char *dir = cache_dir();
    for (int rounds = 0; rounds < 100; rounds++) {
        struct dirent *e;
        struct stat st, least;
        const char *oldest = NULL;
        int n = 0;
        DIR *list = opendir(dir);
        if (!list) return;
        while ((e = readdir(list))) {
            const char *path = keep_text("%s/%s", dir, e->d_name);
            if (!strstr(e->d_name, ".openapi") || stat(path, &st) != 0) continue;
            n++;
            if (strcmp(path, own) != 0 && (!oldest || older(&st, &least))) oldest = path, least = st;
        }
        closedir(list);
        if (n <= CACHE_FILES || !oldest || unlink(oldest) != 0) return;
    }
}

struct cached {
    const char *etag;
    struct document *document;
    bool young;
};

static struct cached cache_read(void)
{
    struct cached c = { 0 };
    struct stat st;
    char why[256];
    size_t n;
    const char *path = cache_path();
    if (!path || stat(path, &st) != 0 || st.st_size > MAX_DOCUMENT + 1024) return c;
    if (access(path, R_OK) != 0) return c;
    char *text = read_file(path, &n), *end = memchr(text, '\n', n);
    if (!end) return c;
    *end = 0;
    c.document = document_parse(end + 1, n - (size_t)(end + 1 - text), why, sizeof why);
    c.etag = *text ? text : NULL;
    time_t age = time(NULL) - st.st_mtime;
    c.young = age >= 0 && age < CACHE_SECONDS;
    return c;
}

static void cache_write(const struct answer *a)
{
    struct text file = { 0 };
    const char *path = cache_path();
    if (!path) return;
    text_printf(&file, "%s\n", a->etag && !strchr(a->etag, '\n') ? a->etag : "");
    text_add(&file, a->body, a->size);
    if (write_private(path, file.p, file.n)) cache_trim(path);
}

static struct document *get(enum document_from from, bool loud)
{
    char why[256] = "";
    struct cached cached = cache_read();
    if (from == FROM_CACHE_ONLY || (from == FROM_CACHE && cached.young && cached.document)) return cached.document;
    struct call call = { .method = "GET",
                         .path = "/openapi.json",
                         .if_none_match = cached.document ? cached.etag : NULL };
    struct answer a = http_call(&call);
    if (!a.failed && a.status == 304 && cached.document) {
        const char *path = cache_path();
        if (path) utimensat(AT_FDCWD, path, NULL, 0);
        cached.document->fresh = true;
        return cached.document;
    }
    if (a.failed || a.status != 200) {
        if (!loud) return cached.document;
        if (!a.failed) warn("%s/openapi.json, from which the commands are made, cannot be read:", options.addr);
        exit(complain(&a));
    }
    struct document *d = a.size > MAX_DOCUMENT ? NULL : document_parse(a.body, a.size, why, sizeof why);
    if (!d && loud)
        fail(BROKEN, "%s/openapi.json: %s.", options.addr,
             a.size > MAX_DOCUMENT ? "the document is larger than 8 MiB" : visible(why));
    if (!d) return cached.document;
    cache_write(&a);
    d->fresh = true;
    return d;
}

struct document *document_get(enum document_from from) { return get(from, true); }
struct document *document_look(void) { return get(FROM_CACHE, false); }
