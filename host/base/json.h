/* json.h - JSON at the host's edges: parsing by Jansson with our limits, writing straight into a buffer. */
#ifndef BASE_JSON_H
#define BASE_JSON_H
#include "base/text.h"
#include <jansson.h>

/* Strict parse: UTF-8, no duplicate names, nothing behind the value, depth at most 64. Any JSON value is taken. The
 * caller owns the result (json_decref). NULL: `why` says what is wrong with line and column. */
json_t *json_read(sl_str text, char *why, size_t why_size);
sl_str json_write(arena *a, const json_t *v); /* compact text */
/* What RFC 6901 pointer `at` names, borrowed, or NULL. */
json_t *json_point(json_t *root, sl_str at);
/* As the contract hands values over: text decoded, null absent, anything else as JSON text. */
sl_str json_plain(arena *a, const json_t *v);
/* While it is on, what Jansson frees is zeroed first: copies that the parser makes, values that hold secrets. */
void json_sensitive(bool on);
void json_wipe(json_t *v);                     /* zeroes all text in it, which nobody may use any more; accepts NULL */
static inline sl_str json_str(const json_t *v) /* absent unless a string */
{
    return json_is_string(v) ? sl_lit(json_string_value(v), json_string_length(v)) : sl_lit(NULL, 0);
}

void json_add_string(buf *b, sl_str s);       /* quoted and escaped; absent = null */
void json_add_name(buf *b, const char *name); /* a comma unless the first in its bracket, then "name": */
void json_field_str(buf *b, const char *name, sl_str s);
void json_field_int(buf *b, const char *name, int64_t v);
void json_field_bool(buf *b, const char *name, bool v);
void json_field_time(buf *b, const char *name, int64_t us); /* quoted RFC 3339; 0 = null */
void json_field_raw(buf *b, const char *name, sl_str json);
#endif
