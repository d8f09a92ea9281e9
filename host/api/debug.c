/* debug.c - profiles of the running server for administrators, in the form that pprof reads; linked in. */
#include "api/api.h"
#include "base/log.h"
#include "observe/heap.h"
#include "observe/profile.h"

enum { FILES_MAX = 256, BODY_MAX = 32 << 20, SECONDS_DEFAULT = 10, WRITE_MS = 60000 };

#define SECONDS SL_OBJECT(SL_OPTIONAL("seconds", SL_INTEGER(1, 60) SL_DEFAULT("10"), "How long to sample."))

typedef bool write_fn(const struct symbol_file *files, size_t n_files, buf *out, size_t *samples);
struct writing {
    buf out;
    size_t samples;
    bool good;
    struct symbol_file files[FILES_MAX];
    size_t n_files;
    write_fn *write;
};

static void write_profile(void *arg)
{
    struct writing *w = arg;
    w->good = w->write(w->files, w->n_files, &w->out, &w->samples);
}

/* Plugins run from private copies that are unlinked; their symbols stand in the files that were copied. */
static void find_files(struct writing *w, arena *a)
{
    for (struct module *m = modules_first(); m; m = m->next)
        for (struct generation *g = m->current; g; g = g == m->current ? m->older : g->older)
            if (g->handle && g->path && w->n_files < FILES_MAX)
                w->files[w->n_files++] = (struct symbol_file){ arena_cstr(a, sl_cstr(g->path)),
                                                               arena_cstr(a, sl_cstr(m->path)) };
}

/* [S] Symbols are read from files: on the pool. */
static sl_err answer(sl_call *c, const char *name, write_fn *write)
{
    struct writing *w = arena_alloc(((call *)c)->arena, sizeof *w);
    w->write = write;
    find_files(w, ((call *)c)->arena);
    buf_init(&w->out, BODY_MAX);
    sl_err e = call_offload((call *)c, write_profile, w);
    if (!e) e = w->good ? SL_OK : SL_ETOOBIG;
    if (!e) {
        log_info("profile taken", LOG_C("profile", name), LOG_I("samples", (int64_t)w->samples),
                 LOG_I("bytes", (int64_t)w->out.n));
        sl_header(c, SL("Content-Disposition"), sl_format(c, "attachment; filename=\"%s.pb.gz\"", name));
        sl_header(c, SL("Cache-Control"), SL("no-store"));
        e = sl_reply(c, 200, SL("application/octet-stream"), buf_str(&w->out));
    }
    buf_free(&w->out);
    return e;
}

static sl_err cpu(void *self, sl_call *c)
{
    uint32_t seconds = (uint32_t)sl_to_int(sl_param(c, "seconds"), SECONDS_DEFAULT);
    (void)self;
    if (!profile_start(seconds))
        return sl_problem(c, 409, "profile_running", "A profile is being taken already; try again when it is over.");
    call_deadline((call *)c, seconds * 1000 + WRITE_MS);
    sl_err e = call_sleep((call *)c, seconds * 1000);
    profile_stop();
    if (!e) e = answer(c, "profile", profile_write);
    profile_forget();
    return e;
}

static sl_err heap(void *self, sl_call *c)
{
    (void)self;
    if (!heap_on())
        return sl_problem(c, 409, "heap_profile_off",
                          "Allocations are not sampled: see the setting debug.heap_period.");
    call_deadline((call *)c, WRITE_MS);
    return answer(c, "heap", heap_write);
}

static const sl_entry entries[] = {
    { SL_ROUTE, "GET /debug/pprof/profile", cpu, .scope = "admin", .query = SECONDS,
      .out = SL_CONTENT("application/octet-stream"), .problems = "409 profile_running",
      .doc = "Sample where CPU time goes, 100 times a CPU second; `go tool pprof` reads the answer." },
    { SL_ROUTE, "GET /debug/pprof/heap", heap, .scope = "admin", .out = SL_CONTENT("application/octet-stream"),
      .problems = "409 heap_profile_off",
      .doc = "Which calls hold the memory that is in use; `go tool pprof` reads the answer." },
};
SL_LINKED_PLUGIN(debug_plugin, "debug", .doc = "Profiles of the running server.", SL_ENTRIES(entries));
