/* fuzz_chain.c - audit files as somebody left them: the check takes any bytes, and finds a byte that was changed. */
#include "base/chain.h"
#include "fuzz.h"

static uint64_t verify(char *text, size_t n, uint64_t *lines)
{
    struct chain_check k = { 0 };
    FILE *f = fmemopen(text, n ? n : 1, "r");
    if (!f) abort();
    if (n) chain_verify(f, "input", &k);
    fclose(f);
    if (k.lines && k.last.seq == 0) abort();
    if (lines) *lines = k.lines;
    return k.wrong;
}

/* A good chain whose records say what the input's lines say, without what would end a record's text. */
static size_t write_chain(const uint8_t *data, size_t size, char *out, size_t room, uint64_t *lines)
{
    struct chain last;
    size_t at = 0, from = 0;
    chain_start(&last);
    while (from < size && *lines < 8 && room - at > 1024) {
        static struct chain_hasher hasher;
        size_t start = at, n = 0;
        at += (size_t)sprintf(out + at, "{\"seq\":%d,\"prev\":\"%s\",\"text\":\"", (int)last.seq + 1, last.hash);
        for (; from < size && data[from] != '\n' && n < 200; from++, n++)
            out[at++] = data[from] ? (char)data[from] : ' ';
        from += from < size;
        out[at++] = '"';
        chain_hash(&hasher, out + start, at - start, last.hash);
        at += (size_t)sprintf(out + at, ",\"hash\":\"%s\"}\n", last.hash);
        last.seq++;
        ++*lines;
    }
    return at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char good[1 << 16];
    struct chain self;
    char prev[CHAIN_HASH];
    uint64_t lines = 0, found;
    char *copy = malloc(size + 1); /* of its own, so that reading past the end shows */
    if (!copy) abort();
    if (size) memcpy(copy, data, size);
    if (chain_read(copy, size, &self, prev) && (self.seq == 0 || size > (size_t)INT32_MAX)) abort();
    verify(copy, size, NULL);
    free(copy);
    size_t n = write_chain(data, size, good, sizeof good, &lines);
    if (verify(good, n, &found) || found != lines) abort();
    if (n < 2) return 0;
    size_t at = (size * 31 + data[0]) % (n - 1); /* the last line's end is what a file may lack */
    good[at] = (char)(good[at] ^ 1);
    if (!verify(good, n, NULL)) abort();
    return 0;
}
