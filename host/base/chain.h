/* chain.h - the hash chain of the audit log: lines that each hold the hash of the one before, and the check of such
 * files. Needs libc and OpenSSL only, so that a client can be built with it. */
#ifndef BASE_CHAIN_H
#define BASE_CHAIN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* A line is {"seq":N,"prev":"<64 hex>",...,"hash":"<64 hex>"}. `hash` is SHA-256 over every byte of the line before
 * `,"hash"`, and `prev` is among these bytes, so a line stands for all that came before it. seq counts up by one; the
 * first line of a chain has seq 1 and a prev of zeros. */
enum { CHAIN_HASH = 65, CHAIN_LINE = 8192 }; /* hex and NUL; no line is longer, its newline included */
struct chain {
    uint64_t seq; /* of the last line; 0 = none yet */
    char hash[CHAIN_HASH];
};
void chain_start(struct chain *c);
/* What hashing keeps from line to line; zeroed, of one thread only, as long as the process lives. */
struct chain_hasher {
    void *context;
};
/* Of a line's bytes before `,"hash"`. */
void chain_hash(struct chain_hasher *h, const char *text, size_t n, char out[CHAIN_HASH]);
/* What a line says of itself; n without the newline. False: it is no line of a chain. */
bool chain_read(const char *line, size_t n, struct chain *self, char prev[CHAIN_HASH]);

struct chain_check { /* zeroed by the caller; goes on over several files, oldest first */
    void (*found)(void *arg, const char *file, uint64_t line, const char *sentence);
    void *arg;
    struct chain last; /* of the last good line */
    uint64_t first, lines, wrong;
};
/* Checks a file line by line: changed, missing, reordered, repeated, cut off and foreign lines are each reported by
 * `found` with the line's number in its file. Cutting off the end shows only against a head that is kept elsewhere. */
void chain_verify(FILE *f, const char *name, struct chain_check *k);
/* The command `-audit-verify FILE...` (`-` = standard input): findings to `out`. 0 all good, 1 findings, 2 unreadable.
 */
int chain_main(int n, char **files, FILE *out);
#endif
