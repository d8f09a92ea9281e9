/* migrate_files.c - the numbered SQL files of a migration directory: found, put in order, checked for gaps, read,
 * checksummed. */
#include "store/migrate_files.h"
#include "base/id.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int is_sql(const struct dirent *d)
{
    sl_str name = sl_cstr(d->d_name);
    return str_ends(name, ".sql") && name.p[0] != '.';
}

/* NNNN_what.sql with what in letters, digits, - and _. */
static bool number_of(sl_str name, int64_t *number)
{
    if (name.n < sizeof "0001_x.sql" - 1 || name.p[4] != '_' || !str_to_int(str_sub(name, 0, 4), number) || *number < 0)
        return false;
    for (size_t i = 0; i < name.n - 4; i++) {
        char c = name.p[i];
        bool fine = (c >= '0' && c <= '9') || (i > 4 && ((c | 32) >= 'a') && (c | 32) <= 'z') ||
                    (i >= 4 && (c == '_' || c == '-'));
        if (!fine) return false;
    }
    return true;
}

static sl_err read_text(arena *a, struct migration_file *f, char *why, size_t why_size)
{
    struct stat st;
    sl_err e = SL_OK;
    int fd = open(f->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st)) {
        snprintf(why, why_size, "%s: %s", f->path, strerror(errno));
        if (fd >= 0) close(fd);
        return SL_EUNAVAIL;
    }
    if (!S_ISREG(st.st_mode) || st.st_size > MIGRATION_BYTES_MAX) {
        snprintf(why, why_size, "%s is no file of at most %d bytes", f->path, MIGRATION_BYTES_MAX);
        close(fd);
        return SL_EINVAL;
    }
    char *p = arena_alloc(a, (size_t)st.st_size + 1);
    size_t n = 0;
    for (ssize_t got; n < (size_t)st.st_size && (got = read(fd, p + n, (size_t)st.st_size - n)) != 0;
         n += (size_t)got) {
        if (got < 0) {
            snprintf(why, why_size, "%s: %s", f->path, strerror(errno));
            e = SL_EUNAVAIL;
            break;
        }
    }
    close(fd);
    f->text = sl_lit(p, n);
    unsigned char sum[32];
    sha256(f->text, sum);
    hex_encode(sum, sizeof sum, f->checksum);
    return e;
}

static sl_err take(arena *a, const char *dir, const char *name, size_t i, struct migration_file *f, const char *before,
                   char *why, size_t why_size)
{
    f->name = arena_cstr(a, sl_cstr(name));
    f->path = arena_printf(a, "%s/%s", dir, name).p;
    if (!number_of(sl_cstr(name), &f->number)) {
        snprintf(why, why_size, "%s: a migration is named NNNN_what.sql, for example 0001_tables.sql", f->path);
        return SL_EINVAL;
    }
    if (f->number != (int64_t)i + 1) {
        if (f->number == (int64_t)i && before)
            snprintf(why, why_size, "%s has the same number as %s", f->path, before);
        else
            snprintf(why, why_size, "%s: number %04zu is missing before it", f->path, i + 1);
        return SL_EINVAL;
    }
    return read_text(a, f, why, why_size);
}

sl_err migration_files_read(arena *a, const char *dir, struct migration_files *out, char *why, size_t why_size)
{
    struct dirent **found = NULL;
    *out = (struct migration_files){ 0 };
    if (!dir) return SL_OK;
    int n = scandir(dir, &found, is_sql, alphasort);
    if (n < 0 && errno == ENOENT) return SL_OK;
    if (n < 0) {
        snprintf(why, why_size, "%s: %s", dir, strerror(errno));
        return SL_EUNAVAIL;
    }
    sl_err e = SL_OK;
    if (n > MIGRATION_FILES_MAX) {
        snprintf(why, why_size, "%s holds more than %d files", dir, MIGRATION_FILES_MAX);
        e = SL_EINVAL;
    }
    if (!e && n) out->file = arena_alloc(a, (size_t)n * sizeof *out->file);
    for (int i = 0; !e && i < n; i++)
        e = take(a, dir, found[i]->d_name, (size_t)i, &out->file[i], i ? out->file[i - 1].name : NULL, why, why_size);
    if (!e) out->n = (size_t)n;
    for (int i = 0; i < n; i++)
        free(found[i]);
    free(found);
    return e;
}
