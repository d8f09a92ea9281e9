/* diag.c - `diag bundle`: what a report about a server needs, in one .tar.gz without secrets. */
#include "slctl.h"
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

enum { MAX_LOGS = 8, LOG_TAIL = 8 << 20, MAX_MODULES = 256 };

struct bundle {
    struct archive *archive;
    const char *dir;
    time_t now;
    json_t *index; /* name to what became of it */
};

static void add_file(struct bundle *b, const char *name, const char *p, size_t n)
{
    struct archive_entry *e = archive_entry_new();
    if (!e) fail(LOCAL, "Out of memory.");
    archive_entry_set_pathname(e, keep_text("%s/%s", b->dir, name));
    archive_entry_set_size(e, (int64_t)n);
    archive_entry_set_filetype(e, AE_IFREG);
    archive_entry_set_perm(e, 0600);
    archive_entry_set_mtime(e, b->now, 0);
    if (archive_write_header(b->archive, e) != ARCHIVE_OK || archive_write_data(b->archive, p, n) != (la_ssize_t)n)
        fail(LOCAL, "The bundle could not be written: %s.", archive_error_string(b->archive));
    archive_entry_free(e);
}

static void add_json(struct bundle *b, const char *name, const json_t *v)
{
    char *text = json_dumps(v, JSON_INDENT(2) | JSON_ENCODE_ANY);
    if (!text) fail(BROKEN, "%s holds what is no JSON.", name);
    add_file(b, name, text, strlen(text));
    free(text);
}

static void note(struct bundle *b, const char *name, const char *what)
{
    json_object_set_new(b->index, name, json_string(what));
}

/* One route as a file; what it refuses is noted, not an error: a bundle without a part is better than none. */
static json_t *add_route(struct bundle *b, const char *name, const char *path)
{
    struct call call = { .method = "GET", .path = path };
    struct answer a = http_call(&call);
    const char *code = json_string_value(json_object_get(a.json, "code"));
    if (a.failed || (a.status >= 300 && a.status != 503)) {
        note(b, name, a.failed ? redact_text(a.why) : keep_text("left out: %d %s", a.status, code ? code : ""));
        return NULL;
    }
    note(b, name, keep_text("GET %s: %d", path, a.status));
    if (a.json) {
        add_json(b, name, redact_json(a.json));
        return a.json;
    }
    struct text out = { 0 };
    redact_lines(&out, a.body);
    add_file(b, name, text_cstr(&out), out.n);
    return NULL;
}

static void add_modules(struct bundle *b)
{
    size_t i;
    json_t *module, *all = add_route(b, "modules.json", "/admin/modules");
    json_t *list = json_object_get(all, "items") ? json_object_get(all, "items") : json_object_get(all, "modules");
    json_array_foreach (list, i, module) {
        const char *name = json_string_value(json_object_get(module, "name"));
        if (!name || i >= MAX_MODULES || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") != strlen(name))
            continue;
        add_route(b, keep_text("modules/%s.json", name), keep_text("/admin/modules/%s", name));
    }
}

/* The document is made from the plugins' tables and names many things `token`: only known values are taken out. */
static void add_document(struct bundle *b)
{
    struct document *d = document_look();
    if (!d) {
        note(b, "openapi.json", "left out: it cannot be read");
        return;
    }
    add_json(b, "openapi.json", d->root);
    note(b, "openapi.json", keep_text("%zu commands", d->n));
}

static void add_log(struct bundle *b, const char *path, int number)
{
    struct text out = { 0 };
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) fail(USAGE, "%s: %s.", path, strerror(errno));
    off_t from = st.st_size > LOG_TAIL ? st.st_size - LOG_TAIL : 0;
    size_t room = (size_t)(st.st_size - from), n = 0;
    char *text = keep(room + 1);
    while (n < room) {
        ssize_t got = pread(fd, text + n, room - n, from + (off_t)n);
        if (got <= 0) break;
        n += (size_t)got;
    }
    close(fd);
    for (size_t i = 0; i < n; i++)
        if (!text[i]) text[i] = ' ';
    char *start = text;
    if (from) { /* a secret could begin before the first whole line */
        char *end = strchr(text, '\n');
        start = end ? end + 1 : text + n;
    }
    redact_lines(&out, start);
    const char *name = keep_text("log-%d.txt", number);
    add_file(b, name, text_cstr(&out), out.n);
    note(b, name, keep_text("%s%s", redact_text(path), from ? ", its last 8 MiB" : ""));
}

static void add_client(struct bundle *b)
{
    struct utsname u;
    char when[32];
    struct tm tm;
    gmtime_r(&b->now, &tm);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
    if (uname(&u) != 0) memset(&u, 0, sizeof u);
    json_t *client = keep_json(json_pack("{s:s, s:s, s:s, s:s, s:s, s:s?}", "slctl", SL_VERSION, "made_at", when,
                                         "addr", options.addr, "system", u.sysname, "release", u.release, "tenant",
                                         options.tenant));
    add_json(b, "slctl.json", redact_json(client));
}

static void open_archive(struct bundle *b, const char *to)
{
    b->archive = archive_write_new();
    if (!b->archive) fail(LOCAL, "Out of memory.");
    archive_write_add_filter_gzip(b->archive);
    archive_write_set_format_pax_restricted(b->archive);
    int fd = strcmp(to, "-") == 0 ? STDOUT_FILENO : open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) fail(errno == EEXIST ? USAGE : LOCAL, "%s: %s.", to, strerror(errno));
    if (archive_write_open_fd(b->archive, fd) != ARCHIVE_OK)
        fail(LOCAL, "%s: %s.", to, archive_error_string(b->archive));
}

static void collect(struct bundle *b, const char **logs, int n_logs)
{
    static const struct {
        const char *name, *path;
    } routes[] = {
        { "version.json", "/system/version" },
        { "health.json", "/healthz?verbose=1" },
        { "status.json", "/system/status" },
        { "limits.json", "/system/limits" },
        { "metrics.txt", "/metrics" },
        { "config.json", "/admin/config" },
        { "jobs-stats.json", "/admin/jobs/stats" },
        { "jobs-dead.json", "/admin/jobs?state=dead&limit=50" },
        { "audit-head.json", "/admin/audit/head" },
    };
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        size_t mark = keep_mark();
        add_route(b, routes[i].name, routes[i].path);
        keep_release(mark);
    }
    add_modules(b);
    add_document(b);
    for (int i = 0; i < n_logs; i++)
        add_log(b, logs[i], i + 1);
    add_client(b);
    add_json(b, "index.json", b->index);
}

int diag_command(int argc, char **argv)
{
    const char *logs[MAX_LOGS], *to = NULL;
    char name[64];
    int n_logs = 0;
    for (int i = 0; i < argc; i++) {
        bool log = strcmp(argv[i], "--log") == 0, out = strcmp(argv[i], "--to") == 0;
        if ((log || out) && i + 1 >= argc) fail(USAGE, "%s needs a file.", argv[i]);
        if (log && n_logs == MAX_LOGS) fail(USAGE, "At most %d logs.", MAX_LOGS);
        if (log)
            logs[n_logs++] = argv[++i];
        else if (out)
            to = argv[++i];
        else if (!global_flag(argc, argv, &i))
            fail(USAGE, "slctl diag bundle: unexpected %s.", visible(argv[i]));
    }
    for (int i = 0; i < n_logs; i++) /* before anything is written */
        if (access(logs[i], R_OK) != 0) fail(USAGE, "%s: %s.", logs[i], strerror(errno));
    options_finish();
    redact_text(""); /* what it learns now is kept to the end */
    struct call probe = { .method = "GET", .path = "/system/version" };
    struct answer first = http_call(&probe);
    if (first.failed || first.status >= 300) return complain(&first);
    struct bundle b = { .now = time(NULL), .index = keep_json(json_object()) };
    struct tm tm;
    gmtime_r(&b.now, &tm);
    strftime(name, sizeof name, "slctl-diag-%Y%m%dT%H%M%SZ", &tm);
    b.dir = name;
    if (!to) to = keep_text("%s.tar.gz", name);
    open_archive(&b, to);
    collect(&b, logs, n_logs);
    if (archive_write_close(b.archive) != ARCHIVE_OK) fail(LOCAL, "%s: %s.", to, archive_error_string(b.archive));
    archive_write_free(b.archive);
    if (strcmp(to, "-") != 0) printf("%s\n", to);
    return DONE;
}
