/* watch.c - modules.watch: notices new and changed files in the plugin directories and loads them by itself, once they
 * are quiet. A bad file changes nothing. */
#include "module/private.h"
#include "base/log.h"
#include <sys/stat.h>
#include <time.h>

enum { LOOK_MS = 250, QUIET_MS = 500, LATEST_MS = 5000 };
static const char by[] = "the directory watch";

struct mark { /* what a file and its signature file look like */
    struct timespec changed, signed_at;
    off_t size;
    ino_t inode;
    bool there;
};
struct known { /* as it was when it was last dealt with */
    struct known *next;
    struct mark mark;
    char path[];
};
struct directory {
    uv_fs_event_t event; /* first: freed as it */
    struct directory *next;
};
static struct {
    ticker *ticker;
    struct directory *directories;
    struct known *known;
    bool dirty, fresh;    /* fresh: it has just begun */
    uint64_t first, last; /* events since the last look; loop time */
} watch;

/* ---- what there is: on a pool thread ---- */
struct seen {
    const struct plugin_file *file;
    struct mark mark;
    char sha256[65];
    struct seen *next;
};
struct look {
    arena *a;
    buf errors;
    struct seen *first;
};

static void fill(struct mark *m, const char *path)
{
    struct stat st;
    char signature[4100];
    m->there = stat(path, &st) == 0;
    if (!m->there) return;
    m->changed = st.st_mtim;
    m->size = st.st_size;
    m->inode = st.st_ino;
    snprintf(signature, sizeof signature, "%s.sig", path);
    if (stat(signature, &st) == 0) m->signed_at = st.st_mtim;
}

static bool same_mark(const struct mark *a, const struct mark *b)
{
    return a->size == b->size && a->inode == b->inode && a->changed.tv_sec == b->changed.tv_sec &&
           a->changed.tv_nsec == b->changed.tv_nsec && a->signed_at.tv_sec == b->signed_at.tv_sec &&
           a->signed_at.tv_nsec == b->signed_at.tv_nsec;
}

static struct known *known_of(const char *path)
{
    struct known *k = watch.known;
    while (k && strcmp(k->path, path) != 0)
        k = k->next;
    return k;
}

static void look(void *arg)
{
    struct look *l = arg;
    struct seen **last = &l->first;
    for (const struct plugin_file *f = plugin_files(module_cfg, l->a, &l->errors); f; f = f->next) {
        struct seen *s = arena_alloc(l->a, sizeof *s);
        const struct known *before = known_of(f->path); /* nobody else touches them meanwhile */
        s->file = f;
        fill(&s->mark, f->path);
        if (!before || !same_mark(&before->mark, &s->mark)) plugin_file_hash(f->path, s->sha256);
        *last = s;
        last = &s->next;
    }
}

static void remember(const struct seen *s)
{
    struct known *k = known_of(s->file->path);
    if (!k) {
        k = calloc(1, sizeof *k + strlen(s->file->path) + 1);
        if (!k) abort();
        strcpy(k->path, s->file->path);
        k->next = watch.known;
        watch.known = k;
    }
    k->mark = s->mark;
}

/* ---- what to do about it ---- */
static bool still_written(const struct mark *m)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t age = (now.tv_sec - m->changed.tv_sec) * 1000 + (now.tv_nsec - m->changed.tv_nsec) / 1000000;
    return age >= 0 && age < QUIET_MS;
}

static void note_bad_file(struct module *m, const struct module_change *done)
{
    snprintf(m->bad_file, sizeof m->bad_file, "The file now in place was refused: %.250s", done->outcome);
}

static void run_change(call *c, struct module *m, enum module_action action)
{
    struct module_change done;
    if (module_lock_wait(c)) return;
    if (change_run(c, m, action, NULL, by, &done) != SL_OK) note_bad_file(m, &done);
    module_unlock();
}

static void new_plugin(call *c, const struct seen *s)
{
    if (module_lock_wait(c)) return;
    struct module *m = module_describe(s->file, module_cfg);
    module_list(m);
    module_unlock();
    log_info("new plugin file", LOG_C("path", m->path),
             LOG_C("outcome", m->enabled ? "it is loaded" : "not enabled: name it under `plugins`, or enable it"));
    if (m->enabled) run_change(c, m, MODULE_ENABLE);
}

/* first: the watch has just begun, and most of what is there is loaded already. */
static void deal_with(call *c, const struct seen *s, bool first)
{
    struct module *m = module_find(s->file->name);
    if (!m) {
        new_plugin(c, s);
        return;
    }
    if (m->linked || (m->path[0] && strcmp(m->path, s->file->path) != 0) || !m->enabled) return;
    if (!m->current && first) return;                                        /* it could not start with this file */
    if (m->current && strcmp(m->current->sha256, s->sha256) == 0) return;    /* only touched */
    if (!m->path[0]) m->path = arena_cstr(m->arena, sl_cstr(s->file->path)); /* it was missing */
    run_change(c, m, m->current ? MODULE_RELOAD : MODULE_ENABLE);
}

static void forget_gone(const struct look *l)
{
    for (struct known **at = &watch.known, *k; (k = *at);) {
        const struct seen *s = l->first;
        while (s && strcmp(s->file->path, k->path) != 0)
            s = s->next;
        if (s) {
            at = &k->next;
            continue;
        }
        log_warn("a plugin's file is gone; a loaded one serves on", LOG_C("path", k->path));
        *at = k->next;
        free(k);
    }
}

static void on_look(call *c, void *arg)
{
    struct look l = { 0 };
    uint64_t now = loop_now();
    bool first = watch.fresh;
    (void)arg;
    if (!watch.dirty || (now - watch.last < QUIET_MS && now - watch.first < LATEST_MS)) return;
    watch.dirty = watch.fresh = false;
    call_deadline(c, 0); /* each step has its own */
    l.a = arena_new(0);
    buf_init(&l.errors, 64 * 1024);
    if (call_offload(c, look, &l)) look(&l);
    buf_free(&l.errors);
    forget_gone(&l);
    for (const struct seen *s = l.first; s; s = s->next) {
        const struct known *before = known_of(s->file->path);
        if (!s->mark.there || (before && same_mark(&before->mark, &s->mark))) continue;
        if (still_written(&s->mark)) {
            watch.dirty = true;
            watch.first = watch.last = loop_now();
            continue;
        }
        remember(s);
        deal_with(c, s, first);
    }
    arena_free(l.a);
}

/* ---- on and off ---- */
static void on_event(uv_fs_event_t *e, const char *name, int events, int status)
{
    (void)e, (void)name, (void)events;
    if (status < 0) log_warn("plugin directory cannot be watched any more", LOG_C("error", uv_strerror(status)));
    watch.last = loop_now();
    if (!watch.dirty) watch.first = watch.last;
    watch.dirty = true;
}

static void on_closed(uv_handle_t *h) { free(h); }

static void watch_directory(const char *path)
{
    struct directory *d = calloc(1, sizeof *d);
    if (!d) abort();
    uv_fs_event_init(loop_uv(), &d->event);
    int e = uv_fs_event_start(&d->event, on_event, path, 0);
    if (e) {
        log_warn("plugin directory cannot be watched", LOG_C("path", path), LOG_C("error", uv_strerror(e)));
        uv_close((uv_handle_t *)&d->event, on_closed);
        return;
    }
    uv_unref((uv_handle_t *)&d->event);
    d->next = watch.directories;
    watch.directories = d;
}

static void close_directories(void)
{
    while (watch.directories) {
        struct directory *d = watch.directories;
        watch.directories = d->next;
        uv_close((uv_handle_t *)&d->event, on_closed);
    }
}

void watch_start(void)
{
    close_directories();
    if (!module_cfg->watch) return;
    plugin_directories(module_cfg, watch_directory);
    watch.dirty = watch.fresh = true;
    watch.first = watch.last = loop_now();
    if (!watch.ticker) watch.ticker = ticker_start("plugin watch", LOOK_MS, on_look, NULL);
}

void watch_stop(void)
{
    close_directories();
    ticker_stop(watch.ticker);
    watch.ticker = NULL;
    while (watch.known) {
        struct known *k = watch.known;
        watch.known = k->next;
        free(k);
    }
    watch.dirty = false;
}
