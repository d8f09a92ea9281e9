/* log.h - structured log lines, text or JSON, from any thread; lines leave in batches, errors at once. */
#ifndef BASE_LOG_H
#define BASE_LOG_H
#include "base/text.h"

enum log_format { LOG_AS_TEXT, LOG_AS_JSON };
void log_setup(int level, enum log_format format, int fd); /* level: SL_DEBUG .. SL_ERROR; fd stays the caller's */
bool log_on(int level);
/* One line. Names are short snake_case words; values are escaped as the format needs and cut at 8 KiB. */
void log_write(int level, const char *text, const sl_pair *fields, size_t n);
/* From a signal handler, of a process that ends: an error's line, written at once and past all others. No locks. */
void log_last(const char *text, const sl_pair *fields, size_t n);
void log_flush(void);       /* call once a loop turn and before exit */
uint64_t log_dropped(void); /* lines lost because the sink did not take them */

/* log_info("server listens", LOG_S("address", a), LOG_I("port", 8080)); numbers are formatted by LOG_I. */
#define LOG_S(key, value) ((sl_pair){ SL(key), (value) })
#define LOG_C(key, value) ((sl_pair){ SL(key), sl_cstr(value) })
#define LOG_I(key, value) ((sl_pair){ SL(key), log_number((value), (char[24]){ 0 }) })
sl_str log_number(int64_t v, char room[24]);
#define LOG_AT(level, text, ...)                                                                                       \
    do {                                                                                                               \
        if (log_on(level)) {                                                                                           \
            const sl_pair log_fields_[] = { { { NULL, 0 }, { NULL, 0 } }, ##__VA_ARGS__ };                             \
            log_write(level, text, log_fields_ + 1, sizeof log_fields_ / sizeof *log_fields_ - 1);                     \
        }                                                                                                              \
    } while (0)
#define log_debug(...) LOG_AT(SL_DEBUG, __VA_ARGS__)
#define log_info(...)  LOG_AT(SL_INFO, __VA_ARGS__)
#define log_warn(...)  LOG_AT(SL_WARN, __VA_ARGS__)
#define log_error(...) LOG_AT(SL_ERROR, __VA_ARGS__)
#endif
