/* load.c - one generation of a plugin: file read once, private copy, dlopen, and the way back. */
#include "module/cell.h"
#include "base/log.h"
#include "observe/metrics.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <sodium.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 }; /* reports name functions by reading the file, also after main */
#else
enum { SANITIZED = 0 };
#endif
enum { PLUGIN_FILE_MAX = 256 << 20 };

struct generation *generation_new(struct module *m)
{
    struct generation *g = calloc(1, sizeof *g);
    if (!g) abort();
    g->arena = arena_new(0);
    g->module = m;
    g->number = ++m->last_number;
    g->draining = true; /* until it is published */
    g->isolated = m->isolated;
    g->file = -1;
    return g;
}

/* The whole file by one descriptor, so that what was checked is what runs. */
static unsigned char *read_file(const char *path, struct stat *st, size_t *size, char *why, size_t why_size)
{
    unsigned char *bytes = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, st) != 0)
        snprintf(why, why_size, "%s: %s", path, strerror(errno));
    else if (!S_ISREG(st->st_mode))
        snprintf(why, why_size, "%s: is not a regular file", path);
    else if (st->st_size > PLUGIN_FILE_MAX)
        snprintf(why, why_size, "%s: is over %d MiB", path, PLUGIN_FILE_MAX >> 20);
    else if ((bytes = malloc((size_t)st->st_size + 1)) != NULL) {
        for (*size = 0; *size < (size_t)st->st_size;) {
            ssize_t n = read(fd, bytes + *size, (size_t)st->st_size - *size);
            if (n < 0 && errno == EINTR) continue;
            if (n <= 0) break;
            *size += (size_t)n;
        }
        if (*size < (size_t)st->st_size) {
            snprintf(why, why_size, "%s: could not be read to its end", path);
            free(bytes);
            bytes = NULL;
        }
    } else
        snprintf(why, why_size, "%s: out of memory", path);
    if (fd >= 0) close(fd);
    return bytes;
}

static bool write_copy(const char *path, const unsigned char *bytes, size_t size, char *why, size_t why_size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0500);
    size_t done = 0;
    while (fd >= 0 && done < size) {
        ssize_t n = write(fd, bytes + done, size - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        done += (size_t)n;
    }
    bool good = fd >= 0 && done == size;
    if (!good) snprintf(why, why_size, "private copy %s: %s", path, strerror(errno));
    if (fd >= 0) close(fd);
    if (fd >= 0 && !good) unlink(path);
    return good;
}

/* A child process has another user and gets the file as a descriptor, at each start again: it needs no name. */
static bool hold_copy(struct generation *g, char *why, size_t why_size)
{
    if (!g->isolated) return true;
    g->file = open(g->path, O_RDONLY | O_CLOEXEC);
    bool good = g->file >= 0 && fchmod(g->file, 0555) == 0;
    if (!good) snprintf(why, why_size, "private copy %s: %s", g->path, strerror(errno));
    unlink(g->path);
    return good;
}

static void fingerprint(struct generation *g, const unsigned char *bytes, size_t size)
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    crypto_hash_sha256(hash, bytes, size);
    build_id(bytes, size, g->build);
    sodium_bin2hex(g->sha256, sizeof g->sha256, hash, sizeof hash);
    g->file_size = size;
}

bool plugin_file_hash(const char *path, char out[65])
{
    struct generation g = { .sha256 = "" };
    struct stat st;
    char why[MODULE_WHY];
    size_t size = 0;
    unsigned char *bytes = read_file(path, &st, &size, why, sizeof why);
    if (bytes) fingerprint(&g, bytes, size);
    free(bytes);
    memcpy(out, g.sha256, sizeof g.sha256);
    return out[0] != 0;
}

bool generation_copy(struct generation *g, char *why, size_t why_size)
{
    size_t size = 0;
    struct stat st;
    unsigned char *bytes = read_file(g->module->path, &st, &size, why, why_size);
    if (bytes) fingerprint(g, bytes, size);
    bool good = bytes && findings_judge(g, bytes, size, &st, why, why_size) && private_dir_make(why, why_size);
    if (good) {
        sl_str path = arena_printf(g->arena, "%s/%s.%u.so", private_dir(), g->module->name, g->number);
        if ((good = write_copy(path.p, bytes, size, why, why_size))) g->path = (char *)(uintptr_t)path.p;
        good = good && hold_copy(g, why, why_size);
    }
    free(bytes);
    return good;
}

static bool take_metrics(struct generation *g, char *why, size_t why_size)
{
    g->metrics = arena_alloc(g->arena, (g->n_metrics + 1) * sizeof *g->metrics);
    for (size_t i = 0; i < g->n_metrics; i++) {
        const sl_metric *m = &g->spec.metrics[i];
        g->metrics[i] = metric_get((int)m->kind, m->name, m->labels, m->doc ? m->doc : "");
        if (g->metrics[i]) continue;
        snprintf(why, why_size, "metric %s: a name or label is malformed, or it exists with another kind or labels",
                 m->name);
        return false;
    }
    return true;
}

bool generation_linked(struct generation *g, const sl_plugin *p, char *why, size_t why_size)
{
    g->plugin = p;
    return descriptor_read(g, p, why, why_size) && take_metrics(g, why, why_size);
}

void generation_destroy(struct generation *g)
{
    if (!g->cell && g->created && g->life.destroy) g->life.destroy(g->self);
    g->created = false;
}

static void remove_copy(struct generation *g)
{
    if (g->path && g->file < 0) unlink(g->path);
}

bool generation_open(struct generation *g, char *why, size_t why_size)
{
    g->handle = dlopen(g->path, RTLD_NOW | RTLD_LOCAL);
    if (!g->handle) {
        snprintf(why, why_size, "%s", dlerror());
        return false;
    }
    const sl_plugin *p = dlsym(g->handle, "sl_plugin_v1");
    if (!SANITIZED) remove_copy(g); /* the mapping holds it; a killed server leaves nothing behind */
    if (!p) {
        snprintf(why, why_size, "exports no sl_plugin_v1");
        return false;
    }
    if (!generation_linked(g, p, why, why_size)) return false;
    generation_measure(g);
    if (strcmp(g->spec.name, g->module->name) == 0) return true;
    snprintf(why, why_size, "names itself `%s`, but its file is called %s.so", g->spec.name, g->module->name);
    return false;
}

bool generation_load(call *c, struct generation *g, char *why, size_t why_size)
{
    return g->isolated ? cell_open(c, g, why, why_size) == SL_OK : generation_open(g, why, why_size);
}

struct search {
    const char *path;
    bool found;
    uint64_t bytes; /* of its segments in memory */
    uintptr_t base, end;
};

static int on_library(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct search *s = arg;
    (void)size;
    if (!info->dlpi_name || strcmp(info->dlpi_name, s->path) != 0) return 0;
    s->found = true;
    s->base = info->dlpi_addr;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD) {
            s->bytes += info->dlpi_phdr[i].p_memsz;
            s->end = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz; /* they ascend */
        }
    return 1;
}

bool generation_can_unload(const struct generation *g) { return g->cell || (g->handle && !SANITIZED && !g->keep); }

void generation_measure(struct generation *g)
{
    struct search s = { .path = g->path };
    if (g->handle) dl_iterate_phdr(on_library, &s);
    g->mapped = s.bytes;
    g->base = s.base;
    g->end = s.end;
}

bool generation_mapped(const struct generation *g)
{
    struct search s = { .path = g->path };
    char line[1024];
    dl_iterate_phdr(on_library, &s);
    FILE *maps = fopen("/proc/self/maps", "re");
    while (!s.found && maps && fgets(line, sizeof line, maps))
        s.found = strstr(line, g->path) != NULL;
    if (maps) fclose(maps);
    return s.found || !maps;
}

void generation_unload(struct generation *g)
{
    cell_close(g);
    if (generation_can_unload(g)) {
        dlclose(g->handle);
        struct search s = { .path = g->path };
        dl_iterate_phdr(on_library, &s);
        if (s.found)
            log_warn("plugin stays mapped after its unload", LOG_C("plugin", g->module->name),
                     LOG_I("generation", g->number));
    }
    g->handle = NULL;
    g->base = g->end = 0;
    g->plugin = NULL;
    for (size_t i = 0; i < g->n_entries; i++)
        g->entries[i].spec.run = NULL;
    memset(&g->life, 0, sizeof g->life);
    remove_copy(g);
}

void generation_free(struct generation *g)
{
    if (!g) return;
    descriptor_free(g);
    json_decref(g->config);
    json_decref(g->seen);
    generation_unload(g);
    if (g->file >= 0) close(g->file);
    arena_free(g->arena);
    free(g);
}
