/* text.c - memory that is given back together, growing text, files, messages. */
#include "slctl.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>
#include <wctype.h>

struct kept {
    void *memory;
    json_t *json;
};
static struct kept *kept;
static size_t n_kept, room_kept;

static void release_all(void)
{
    keep_release(0);
    free(kept);
    kept = NULL;
    room_kept = 0;
}

static size_t remember(void *memory, json_t *json)
{
    if (!kept) atexit(release_all);
    if (n_kept == room_kept) {
        size_t room = room_kept ? room_kept * 2 : 256;
        struct kept *more = realloc(kept, room * sizeof *kept);
        if (!more) abort();
        kept = more;
        room_kept = room;
    }
    kept[n_kept].memory = memory;
    kept[n_kept].json = json;
    return n_kept++;
}

void *keep(size_t n)
{
    void *p = calloc(1, n ? n : 1);
    if (!p) abort();
    remember(p, NULL);
    return p;
}

char *keep_copy(const char *p, size_t n)
{
    char *copy = keep(n + 1);
    if (n) memcpy(copy, p, n);
    return copy;
}

static char *format_text(const char *format, va_list ap, size_t *size)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (n < 0) abort();
    char *p = malloc((size_t)n + 1);
    if (!p) abort();
    vsnprintf(p, (size_t)n + 1, format, ap);
    *size = (size_t)n;
    return p;
}

char *keep_text(const char *format, ...)
{
    va_list ap;
    size_t n;
    va_start(ap, format);
    char *p = format_text(format, ap, &n);
    va_end(ap);
    remember(p, NULL);
    return p;
}

json_t *keep_json(json_t *owned)
{
    if (owned) remember(NULL, owned);
    return owned;
}

size_t keep_mark(void) { return n_kept; }

void keep_release(size_t mark)
{
    while (n_kept > mark) {
        struct kept k = kept[--n_kept];
        free(k.memory);
        if (k.json) json_decref(k.json);
    }
}

void text_add(struct text *t, const char *p, size_t n)
{
    if (!t->p) {
        t->room = 256;
        t->p = malloc(t->room);
        if (!t->p) abort();
        t->slot = remember(t->p, NULL);
    }
    if (n > SIZE_MAX / 4 || t->n > SIZE_MAX / 4) abort();
    if (t->room - t->n <= n) {
        while (t->room - t->n <= n)
            t->room *= 2;
        t->p = realloc(t->p, t->room);
        if (!t->p) abort();
        kept[t->slot].memory = t->p;
    }
    if (n) memcpy(t->p + t->n, p, n);
    t->n += n;
    t->p[t->n] = 0;
}

void text_add_cstr(struct text *t, const char *s) { text_add(t, s, strlen(s)); }

void text_printf(struct text *t, const char *format, ...)
{
    va_list ap;
    size_t n;
    va_start(ap, format);
    char *p = format_text(format, ap, &n);
    va_end(ap);
    text_add(t, p, n);
    free(p);
}

const char *text_cstr(const struct text *t) { return t->p ? t->p : ""; }

/* ---- what a terminal may be shown ---- */
/* The next character of `s` and its length; 0 for bytes that are no character. The locale is UTF-8 (main.c). */
static wchar_t next_char(const char *s, size_t *n)
{
    wchar_t w;
    mbstate_t state;
    memset(&state, 0, sizeof state);
    size_t got = mbrtowc(&w, s, strlen(s), &state);
    if (got == (size_t)-1 || got == (size_t)-2 || got == 0) {
        *n = 1;
        return 0;
    }
    *n = got;
    return w;
}

const char *visible(const char *s)
{
    struct text out = { 0 };
    const char *p = s;
    for (; *p && (unsigned char)*p < 0x7f; p++)
        if ((unsigned char)*p < 0x20) break;
    if (!*p) return s;
    for (p = s; *p;) {
        size_t n;
        wchar_t w = next_char(p, &n);
        if (w && (iswprint((wint_t)w) || w == L' '))
            text_add(&out, p, n);
        else if (*p == '\n')
            text_add_cstr(&out, "\\n");
        else if (*p == '\t')
            text_add_cstr(&out, "\\t");
        else if (w)
            text_printf(&out, "\\u%04x", (unsigned)w);
        else
            text_printf(&out, "\\x%02x", (unsigned)(unsigned char)*p);
        p += n;
    }
    return text_cstr(&out);
}

size_t width(const char *s)
{
    size_t columns = 0;
    while (*s) {
        size_t n;
        wchar_t w = next_char(s, &n);
        int c = w ? wcwidth(w) : 1;
        columns += c > 0 ? (size_t)c : 0;
        s += n;
    }
    return columns;
}

const char *flag_name(const char *name)
{
    char *flag = keep_copy(name, strlen(name));
    for (char *p = flag; *p; p++)
        if (*p == '_') *p = '-';
    return visible(flag);
}

/* ---- messages ---- */
void warn(const char *format, ...)
{
    va_list ap;
    size_t n;
    va_start(ap, format);
    char *p = format_text(format, ap, &n);
    va_end(ap);
    fprintf(stderr, "slctl: %s\n", p);
    free(p);
}

void fail(int code, const char *format, ...)
{
    va_list ap;
    size_t n;
    va_start(ap, format);
    char *p = format_text(format, ap, &n);
    va_end(ap);
    fflush(stdout);
    fprintf(stderr, "slctl: %s\n", p);
    free(p);
    exit(code);
}

/* ---- files ---- */
char *read_file(const char *path, size_t *n)
{
    struct text t = { 0 };
    char piece[16384];
    bool in = strcmp(path, "-") == 0;
    int fd = in ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) fail(USAGE, "%s: %s", path, strerror(errno));
    text_add(&t, "", 0);
    for (;;) {
        ssize_t got = read(fd, piece, sizeof piece);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) fail(USAGE, "%s: %s", in ? "standard input" : path, strerror(errno));
        if (got == 0) break;
        text_add(&t, piece, (size_t)got);
        if (t.n > MAX_FILE) fail(USAGE, "%s is larger than %d MiB.", in ? "standard input" : path, MAX_FILE >> 20);
    }
    if (!in) close(fd);
    if (n) *n = t.n;
    return t.p;
}

static bool make_parents(const char *path)
{
    char *copy = keep_copy(path, strlen(path));
    for (char *p = copy + 1; *p; p++) {
        if (*p != '/') continue;
        *p = 0;
        if (mkdir(copy, 0700) != 0 && errno != EEXIST) return false;
        *p = '/';
    }
    return true;
}

bool write_private(const char *path, const char *p, size_t n)
{
    char *beside = keep_text("%s.XXXXXX", path);
    if (!make_parents(path)) return false;
    int fd = mkostemp(beside, O_CLOEXEC); /* mode 0600 */
    if (fd < 0) return false;
    while (n) {
        ssize_t put = write(fd, p, n);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) break;
        p += put;
        n -= (size_t)put;
    }
    bool good = n == 0 && fsync(fd) == 0;
    int why = errno;
    if (close(fd) != 0 && good) good = false, why = errno;
    if (good && rename(beside, path) == 0) return true;
    if (good) why = errno;
    unlink(beside);
    errno = why;
    return false;
}

/* ---- small readers ---- */
bool starts(const char *s, const char *with) { return strncmp(s, with, strlen(with)) == 0; }

long parse_ms(const char *s)
{
    double total = 0;
    if (!*s) return -1;
    while (*s) {
        char *end;
        if (*s < '0' || *s > '9') return -1;
        double n = strtod(s, &end);
        double unit = 1000;
        if (starts(end, "ms"))
            unit = 1, end += 2;
        else if (*end == 's')
            end++;
        else if (*end == 'm')
            unit = 60000, end++;
        else if (*end == 'h')
            unit = 3600000, end++;
        else if (*end)
            return -1;
        total += n * unit;
        if (!(total <= 86400000.0)) return -1;
        s = end;
    }
    return (long)(total + 0.5);
}
