/* debug.c - profiles of the running server for administrators, in the form that pprof reads; linked in. */
#include "api/api.h"
#include "base/log.h"
#include "observe/profile.h"

enum { BODY_MAX = 32 << 20, SECONDS_DEFAULT = 10, WRITE_MS = 60000 };

#define SECONDS SL_OBJECT(SL_OPTIONAL("seconds", SL_INTEGER(1, 60) SL_DEFAULT("10"), "How long to sample."))

struct writing {
    buf out;
    size_t samples;
    bool good;
    bool (*write)(buf *out, size_t *samples);
};

static void write_profile(void *arg)
{
    struct writing *w = arg;
    w->good = w->write(&w->out, &w->samples);
}

/* [S] Symbols are read from files: on the pool. */
static sl_err answer(sl_call *c, const char *name, bool (*write)(buf *out, size_t *samples))
{
    struct writing w = { .write = write };
    buf_init(&w.out, BODY_MAX);
    sl_err e = call_offload((call *)c, write_profile, &w);
    if (!e) e = w.good ? SL_OK : SL_ETOOBIG;
    if (!e) {
        log_info("profile taken", LOG_C("profile", name), LOG_I("samples", (int64_t)w.samples),
                 LOG_I("bytes", (int64_t)w.out.n));
        sl_header(c, SL("Content-Disposition"), sl_format(c, "attachment; filename=\"%s.pb.gz\"", name));
        sl_header(c, SL("Cache-Control"), SL("no-store"));
        e = sl_reply(c, 200, SL("application/octet-stream"), buf_str(&w.out));
    }
    buf_free(&w.out);
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
    sl_err written = answer(c, "profile", profile_write); /* also when the client left: it gives the memory back */
    return e ? e : written;
}

static const sl_entry entries[] = {
    { SL_ROUTE, "GET /debug/pprof/profile", cpu, .scope = "admin", .query = SECONDS,
      .doc = "Sample where CPU time goes, 100 times a CPU second; `go tool pprof` reads the answer." },
};
SL_LINKED_PLUGIN(debug_plugin, "debug", .doc = "Profiles of the running server.", SL_ENTRIES(entries));
