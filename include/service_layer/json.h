/* json.h - writes JSON text piece by piece into the call's arena; include it where a reply is not simply rows. */
#ifndef SERVICE_LAYER_JSON_H
#define SERVICE_LAYER_JSON_H
#include "plugin.h"

/* Start with sl_json_start(c); name == NULL inside arrays and at the top. A failed allocation makes the result absent.
 */
typedef struct sl_json {
    sl_call *c;
    char *p;
    size_t n, room;
    int comma, failed;
} sl_json;

static inline sl_json sl_json_start(sl_call *c)
{
    sl_json j;
    memset(&j, 0, sizeof j);
    j.c = c;
    return j;
}
static inline void sl_json_bytes(sl_json *j, const char *p, size_t n)
{
    if (j->failed) return;
    if (n > j->room - j->n) {
        size_t room = j->room ? j->room : 256;
        char *bigger;
        while (room - j->n < n && room < SIZE_MAX / 2)
            room *= 2;
        bigger = (char *)sl_alloc(j->c, room);
        if (!bigger) {
            j->failed = 1;
            return;
        }
        if (j->n) memcpy(bigger, j->p, j->n);
        j->p = bigger;
        j->room = room;
    }
    if (n) memcpy(j->p + j->n, p, n);
    j->n += n;
}
/* A JSON string with RFC 8259 escapes; `s` must be UTF-8. */
static inline void sl_json_quoted(sl_json *j, sl_str s)
{
    size_t i, from = 0;
    sl_json_bytes(j, "\"", 1);
    for (i = 0; i < s.n; i++) {
        unsigned char ch = (unsigned char)s.p[i];
        char escape[8];
        if (ch >= 0x20 && ch != '"' && ch != '\\') continue;
        sl_json_bytes(j, s.p + from, i - from);
        from = i + 1;
        (void)snprintf(escape, sizeof escape, ch < 0x20 ? "\\u%04x" : "\\%c", ch);
        sl_json_bytes(j, escape, strlen(escape));
    }
    sl_json_bytes(j, s.p ? s.p + from : "", s.n - from);
    sl_json_bytes(j, "\"", 1);
}
static inline void sl_json_name(sl_json *j, const char *name)
{
    if (j->comma) sl_json_bytes(j, ",", 1);
    j->comma = 1;
    if (name) {
        sl_json_quoted(j, sl_cstr(name));
        sl_json_bytes(j, ":", 1);
    }
}
static inline void sl_json_open(sl_json *j, const char *name, char bracket) /* '{' or '[' */
{
    sl_json_name(j, name);
    sl_json_bytes(j, &bracket, 1);
    j->comma = 0;
}
static inline void sl_json_close(sl_json *j, char bracket) /* '}' or ']' */
{
    sl_json_bytes(j, &bracket, 1);
    j->comma = 1;
}
static inline void sl_json_raw(sl_json *j, const char *name, sl_str json) /* absent = null */
{
    sl_json_name(j, name);
    if (sl_given(json))
        sl_json_bytes(j, json.p, json.n);
    else
        sl_json_bytes(j, "null", 4);
}
static inline void sl_json_text(sl_json *j, const char *name, sl_str s) /* absent = null */
{
    if (!sl_given(s)) {
        sl_json_raw(j, name, s);
        return;
    }
    sl_json_name(j, name);
    sl_json_quoted(j, s);
}
static inline void sl_json_int(sl_json *j, const char *name, int64_t v)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%lld", (long long)v);
    sl_json_raw(j, name, sl_cstr(text));
}
static inline void sl_json_bool(sl_json *j, const char *name, int v)
{
    sl_json_raw(j, name, v ? SL("true") : SL("false"));
}
static inline sl_str sl_json_end(const sl_json *j) { return sl_lit(j->failed ? NULL : j->p, j->failed ? 0 : j->n); }
#endif
