/* log.c - structured log lines, text or JSON, from any thread; lines leave in batches, errors at once. */
#include "base/log.h"
#include "base/clock.h"
#include "base/json.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

/* Lines wait here for log_flush; past the maximum new ones are dropped and counted, so a stuck sink never stops the
 * server. */
enum { VALUE_MAX = 8192, WAITING_MAX = 1 << 20, FLUSH_AT = 32768 };

static struct {
    pthread_mutex_t lock;
    _Atomic int level; /* asked for without the lock, by every thread */
    int fd;
    enum log_format format;
    bool file; /* a regular file: write never waits for a reader */
    buf waiting;
    _Atomic uint64_t dropped;
} sink = {
    .lock = PTHREAD_MUTEX_INITIALIZER, .level = SL_INFO, .fd = STDERR_FILENO, .waiting = { .max = WAITING_MAX }
};

static const char *const level_name[] = { "", "debug", "info", "warn", "error" };
static const char *const padded_name[] = { "", "debug ", "info  ", "warn  ", "error " };

void log_setup(int level, enum log_format format, int fd)
{
    struct stat st;
    pthread_mutex_lock(&sink.lock);
    sink.level = level;
    sink.format = format;
    sink.fd = fd;
    sink.file = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    pthread_mutex_unlock(&sink.lock);
}

bool log_on(int level) { return level >= sink.level; }

sl_str log_number(int64_t v, char room[24])
{
    char *p = room + 24; /* by hand: every request logs a few numbers */
    uint64_t rest = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    do
        *--p = (char)('0' + rest % 10);
    while (rest /= 10);
    if (v < 0) *--p = '-';
    return sl_lit(p, (size_t)(room + 24 - p));
}

/* Bytes that are no UTF-8 become '?', so that every line is valid JSON. */
static void add_json(buf *b, sl_str v)
{
    if (str_is_utf8(v)) {
        json_add_string(b, v);
        return;
    }
    buf clean;
    buf_init(&clean, VALUE_MAX);
    for (size_t i = 0; i < v.n; i++)
        buf_add_char(&clean, (unsigned char)v.p[i] < 0x80 ? v.p[i] : '?');
    json_add_string(b, buf_str(&clean));
    buf_free(&clean);
}

static bool bare(sl_str v)
{
    static const unsigned char odd[256] = { [0 ... ' '] = 1, ['"'] = 1, ['='] = 1, ['\\'] = 1, [0x7f] = 1 };
    unsigned found = 0;
    for (size_t i = 0; i < v.n; i++)
        found |= odd[(unsigned char)v.p[i]];
    return v.n > 0 && !found;
}

static void add_plain(buf *b, sl_str name, sl_str v)
{
    bool as_is = bare(v);
    char *p = buf_reserve(b, name.n + v.n + 2);
    if (!p) return; /* overflow is set */
    *p++ = ' ';
    memcpy(p, name.p, name.n);
    p += name.n;
    *p++ = '=';
    if (as_is) memcpy(p, v.p, v.n);
    b->n += name.n + 2 + (as_is ? v.n : 0);
    if (!as_is) add_json(b, v);
}

static void add_line(buf *b, int level, const char *text, const sl_pair *fields, size_t n)
{
    char now[CLOCK_TEXT];
    bool json = sink.format == LOG_AS_JSON;
    clock_format(clock_now(), now);
    if (json) buf_add_cstr(b, "{\"time\":\"");
    buf_add(b, now, CLOCK_TEXT - 1);
    buf_add_cstr(b, json ? "\",\"level\":\"" : " ");
    buf_add_cstr(b, json ? level_name[level] : padded_name[level]);
    if (json) buf_add_cstr(b, "\",\"msg\":");
    if (json)
        add_json(b, sl_cstr(text));
    else
        buf_add_cstr(b, text);
    for (size_t i = 0; i < n; i++) {
        sl_str v = str_sub(fields[i].value, 0, VALUE_MAX);
        if (!v.p) continue;
        if (json) {
            buf_add(b, ",", 1);
            add_json(b, fields[i].name);
            buf_add(b, ":", 1);
            add_json(b, v);
        } else {
            add_plain(b, fields[i].name, v);
        }
    }
    if (json) buf_add_char(b, '}');
    buf_add_char(b, '\n');
}

/* With the lock held. A pipe or terminal is written in pieces that poll says it takes. */
static void write_out(void)
{
    size_t done = 0;
    while (done < sink.waiting.n) {
        size_t n = sink.waiting.n - done;
        if (!sink.file) {
            struct pollfd p = { .fd = sink.fd, .events = POLLOUT };
            if (poll(&p, 1, 0) != 1 || !(p.revents & POLLOUT)) break;
            if (n > 4096) n = 4096; /* PIPE_BUF: what a writable pipe takes without blocking */
        }
        ssize_t w = write(sink.fd, sink.waiting.p + done, n);
        if (w < 0 && errno == EINTR) continue;
        if (w <= 0) {
            if (errno != EAGAIN) done = sink.waiting.n; /* the sink is gone: nothing to keep for it */
            break;
        }
        done += (size_t)w;
    }
    buf_drop_front(&sink.waiting, done);
}

void log_write(int level, const char *text, const sl_pair *fields, size_t n)
{
    if (!log_on(level)) return;
    pthread_mutex_lock(&sink.lock);
    size_t before = sink.waiting.n;
    add_line(&sink.waiting, level, text, fields, n);
    if (sink.waiting.overflow) {
        sink.waiting.overflow = false;
        sink.waiting.n = before;
        sink.dropped++;
    }
    if (level >= SL_WARN || sink.waiting.n >= FLUSH_AT) write_out();
    pthread_mutex_unlock(&sink.lock);
}

void log_last(const char *text, const sl_pair *fields, size_t n)
{
    static char room[4096];
    buf line = { .p = room, .room = sizeof room, .max = sizeof room }; /* never grows */
    add_line(&line, SL_ERROR, text, fields, n);
    ssize_t unused = write(sink.fd, line.p, line.n);
    (void)unused;
}

void log_flush(void)
{
    pthread_mutex_lock(&sink.lock);
    write_out();
    pthread_mutex_unlock(&sink.lock);
}

uint64_t log_dropped(void) { return sink.dropped; }
