/* log.c - structured log lines, text or JSON, from any thread; lines leave in batches, errors at once. */
#include "base/log.h"
#include "base/clock.h"
#include "base/json.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

/* Lines wait here for log_flush; past the maximum new ones are dropped and counted, so a stuck sink never stops the server. */
enum { VALUE_MAX = 8192, WAITING_MAX = 1 << 20, FLUSH_AT = 32768 };

static struct {
    pthread_mutex_t lock;
    int level, fd;
    enum log_format format;
    bool file; /* a regular file: write never waits for a reader */
    buf waiting;
    uint64_t dropped;
} sink = { .lock = PTHREAD_MUTEX_INITIALIZER, .level = SL_INFO, .fd = STDERR_FILENO, .waiting = { .max = WAITING_MAX } };

static const char *const level_name[] = { "", "debug", "info", "warn", "error" };

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
    int n = snprintf(room, 24, "%lld", (long long)v);
    return sl_lit(room, n > 0 ? (size_t)n : 0);
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
    for (size_t i = 0; i < v.n; i++) buf_add_char(&clean, (unsigned char)v.p[i] < 0x80 ? v.p[i] : '?');
    json_add_string(b, buf_str(&clean));
    buf_free(&clean);
}

static bool bare(sl_str v)
{
    for (size_t i = 0; i < v.n; i++)
        if ((unsigned char)v.p[i] <= ' ' || v.p[i] == '"' || v.p[i] == '=' || v.p[i] == '\\' || (unsigned char)v.p[i] == 0x7f)
            return false;
    return v.n > 0;
}

static void add_line(buf *b, int level, const char *text, const sl_pair *fields, size_t n)
{
    char now[CLOCK_TEXT];
    bool json = sink.format == LOG_AS_JSON;
    clock_format(clock_now(), now);
    if (json) buf_printf(b, "{\"time\":\"%s\",\"level\":\"%s\",\"msg\":", now, level_name[level]);
    else buf_printf(b, "%s %-5s ", now, level_name[level]);
    if (json) add_json(b, sl_cstr(text));
    else buf_add_cstr(b, text);
    for (size_t i = 0; i < n; i++) {
        sl_str v = str_sub(fields[i].value, 0, VALUE_MAX);
        if (!v.p) continue;
        if (json) {
            buf_add(b, ",", 1);
            add_json(b, fields[i].name);
            buf_add(b, ":", 1);
            add_json(b, v);
        } else {
            buf_add_char(b, ' ');
            buf_add_str(b, fields[i].name);
            buf_add_char(b, '=');
            if (bare(v)) buf_add_str(b, v);
            else add_json(b, v);
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

void log_flush(void)
{
    if (!sink.waiting.n) return;
    pthread_mutex_lock(&sink.lock);
    write_out();
    pthread_mutex_unlock(&sink.lock);
}

uint64_t log_dropped(void) { return sink.dropped; }
