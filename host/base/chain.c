/* chain.c - the hash chain of the audit log: hashing a line, reading one, and checking whole files of them. */
#include "base/chain.h"
#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const char seq_name[] = "{\"seq\":", prev_name[] = ",\"prev\":\"", hash_name[] = ",\"hash\":\"", tail[] = "\"}";
enum { HEX = CHAIN_HASH - 1, END = sizeof hash_name - 1 + HEX + sizeof tail - 1 };

void chain_start(struct chain *c)
{
    c->seq = 0;
    memset(c->hash, '0', HEX);
    c->hash[HEX] = 0;
}

void chain_hash(struct chain_hasher *h, const char *text, size_t n, char out[CHAIN_HASH])
{
    EVP_MD_CTX *context = h->context; /* kept: fetching the algorithm costs more than a line's hash */
    unsigned char bytes[32];
    if (!context) {
        h->context = context = EVP_MD_CTX_new();
        if (!context || !EVP_DigestInit_ex2(context, EVP_sha256(), NULL)) abort();
    }
    if (!EVP_DigestInit_ex2(context, NULL, NULL) || !EVP_DigestUpdate(context, text, n) ||
        !EVP_DigestFinal_ex(context, bytes, NULL))
        abort();
    for (int i = 0; i < 32; i++) {
        out[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
        out[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
    }
    out[HEX] = 0;
}

static bool take_hex(const char *p, char out[CHAIN_HASH])
{
    for (int i = 0; i < HEX; i++)
        if (!((p[i] >= '0' && p[i] <= '9') || (p[i] >= 'a' && p[i] <= 'f'))) return false;
    memcpy(out, p, HEX);
    out[HEX] = 0;
    return true;
}

bool chain_read(const char *line, size_t n, struct chain *self, char prev[CHAIN_HASH])
{
    const char *p = line + sizeof seq_name - 1, *end = line + n;
    uint64_t seq = 0;
    if (n < sizeof seq_name + sizeof prev_name + HEX + END || memcmp(line, seq_name, sizeof seq_name - 1) != 0)
        return false;
    for (int digits = 0; *p >= '0' && *p <= '9'; p++) {
        if (++digits > 18) return false;
        seq = seq * 10 + (uint64_t)(*p - '0');
    }
    if (seq == 0 || (size_t)(end - p) < sizeof prev_name - 1 + HEX + END) return false;
    if (memcmp(p, prev_name, sizeof prev_name - 1) != 0 || !take_hex(p + sizeof prev_name - 1, prev)) return false;
    end -= END;
    if (memcmp(end, hash_name, sizeof hash_name - 1) != 0) return false;
    if (!take_hex(end + sizeof hash_name - 1, self->hash)) return false;
    self->seq = seq;
    return memcmp(end + sizeof hash_name - 1 + HEX, tail, sizeof tail - 1) == 0;
}

/* ---- the check ---- */
struct place {
    struct chain_check *k;
    const char *file;
    uint64_t line;
};

__attribute__((format(printf, 2, 3))) static void report(struct place *at, const char *format, ...)
{
    char sentence[300];
    va_list ap;
    va_start(ap, format);
    vsnprintf(sentence, sizeof sentence, format, ap);
    va_end(ap);
    at->k->wrong++;
    if (at->k->found) at->k->found(at->k->arg, at->file, at->line, sentence);
}

/* How a line that is sound in itself stands to the one before. */
static void check_place(struct place *at, const struct chain *self, const char *prev)
{
    const struct chain *last = &at->k->last;
    struct chain zero;
    chain_start(&zero);
    if (self->seq == 1 && strcmp(prev, zero.hash) != 0)
        report(at, "record 1: it claims to be the first but names one before it");
    if (at->k->lines == 0) return;
    if (self->seq > last->seq + 1)
        report(at, "record %" PRIu64 ": %" PRIu64 " to %" PRIu64 " are missing before it", self->seq, last->seq + 1,
               self->seq - 1);
    else if (self->seq <= last->seq)
        report(at, "record %" PRIu64 ": it comes after %" PRIu64 ": out of order, or there twice", self->seq,
               last->seq);
    else if (strcmp(prev, last->hash) != 0)
        report(at, "record %" PRIu64 ": it does not follow on record %" PRIu64 " as that is now: one was replaced",
               self->seq, last->seq);
}

static void check_line(struct place *at, const char *line, size_t n)
{
    static struct chain_hasher hasher;
    struct chain_check *k = at->k;
    struct chain self;
    char prev[CHAIN_HASH], hash[CHAIN_HASH];
    if (!chain_read(line, n, &self, prev)) {
        report(at, "it is no record of an audit log");
        return;
    }
    chain_hash(&hasher, line, n - END, hash);
    if (strcmp(hash, self.hash) != 0)
        report(at, "record %" PRIu64 ": it was changed: its hash does not fit what it says", self.seq);
    check_place(at, &self, prev);
    if (k->lines++ == 0) k->first = self.seq;
    k->last = self;
}

void chain_verify(FILE *f, const char *name, struct chain_check *k)
{
    struct place at = { .k = k, .file = name };
    char line[CHAIN_LINE + 1];
    for (;;) {
        size_t n = 0;
        int ch;
        while ((ch = getc(f)) != EOF && ch != '\n')
            if (n < sizeof line) line[n++] = (char)ch; /* the rest of an overlong line is skipped */
        if (ch == EOF && n == 0) return;
        at.line++;
        if (ch == EOF)
            report(&at, "the last line is cut off");
        else
            check_line(&at, line, n < sizeof line ? n : 0);
        if (ch == EOF) return;
    }
}

static void print_finding(void *arg, const char *file, uint64_t line, const char *sentence)
{
    fprintf(arg, "%s:%" PRIu64 ": %s\n", file, line, sentence);
}

int chain_main(int n, char **files, FILE *out)
{
    struct chain_check k = { .found = print_finding, .arg = out };
    for (int i = 0; i < n; i++) {
        bool standard = strcmp(files[i], "-") == 0;
        FILE *f = standard ? stdin : fopen(files[i], "r");
        if (f) chain_verify(f, files[i], &k);
        if (!f || ferror(f)) {
            fprintf(out, "%s: cannot be read: %s\n", files[i], strerror(errno));
            if (f && !standard) fclose(f);
            return 2;
        }
        if (!standard) fclose(f);
    }
    if (k.lines == 0)
        fprintf(out, "no records\n");
    else
        fprintf(out, "%" PRIu64 " records, %" PRIu64 " to %" PRIu64 ", %s; head %s\n", k.lines, k.first, k.last.seq,
                k.wrong ? "NOT intact" : "intact", k.last.hash);
    return k.wrong ? 1 : 0;
}
