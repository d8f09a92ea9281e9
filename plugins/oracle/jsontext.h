/* jsontext.h - JSON text of outside origin in and out of Jansson values, within limits and in Neo's notation. */
#ifndef ORACLE_JSONTEXT_H
#define ORACLE_JSONTEXT_H
#include <jansson.h>
#include <service_layer/plugin.h>

enum { JSON_DEPTH_MAX = 64 };

/* Any JSON value, nested at most JSON_DEPTH_MAX deep. NULL: *wrong says why. The second keeps whole numbers whole; the
 * first makes all numbers doubles, as Neo does. */
json_t *json_text_read(sl_str text, const char **wrong);
json_t *json_text_read_exact(sl_str text, const char **wrong);
/* The values as one JSON array. NULL and *out (malloc'ed), else what is wrong. */
const char *json_text_array(const json_t *const *v, size_t n, size_t max_bytes, char **out, size_t *out_n);
size_t json_text_number(double v, char out[32]); /* shortest text that reads back as v */
int text_is_utf8(sl_str s);                      /* well formed and without NUL: what the store can keep as text */
#endif
