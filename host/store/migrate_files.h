/* migrate_files.h - the numbered SQL files of a migration directory. Internal to store/. */
#ifndef STORE_MIGRATE_FILES_H
#define STORE_MIGRATE_FILES_H
#include "base/text.h"

struct migration_file {
    int64_t number;
    const char *name, *path;
    char checksum[65];
    sl_str text;
};
struct migration_files {
    struct migration_file *file;
    size_t n;
};
enum { MIGRATION_FILES_MAX = 9999, MIGRATION_BYTES_MAX = 4 << 20 };

/* All NNNN_what.sql of `dir` with their text, in order; no directory means no files. Memory comes from `a`. SL_EINVAL:
 * a name that is not one, a gap, a number used twice, a file too large; SL_EUNAVAIL: not readable. `why` gets the
 * sentence. Blocks. */
sl_err migration_files_read(arena *a, const char *dir, struct migration_files *out, char *why, size_t why_size);
#endif
