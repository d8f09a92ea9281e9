/* jsonpath.h - result filters in the JSONPath dialect of Neo N3's oracle, with its limits and notation. */
#ifndef ORACLE_JSONPATH_H
#define ORACLE_JSONPATH_H
#include <service_layer/plugin.h>

/* `$`, `.name`, `['name']`, `[0]`, `[-1]`, `[1:3]`, `[0,2]`, `['a','b']`, `.*`, `[*]` and `..name`; at most 6 steps
 * down (`..` takes one per level it looks at), 1,024 values at a time and 1,024 bytes of text. */
enum { JSONPATH_DEPTH = 6, JSONPATH_VALUES = 1024, JSONPATH_TEXT_MAX = 1024 };

/* NULL when `path` is well formed, else what is wrong. */
const char *jsonpath_check(sl_str path);
/* The values that `path` selects, as a JSON array in Neo's notation: names in their order, ASCII only, shortest
 * numbers. NULL and *out (malloc'ed, of *n bytes), else what is wrong. */
const char *jsonpath_filter(sl_str json, sl_str path, size_t max_bytes, char **out, size_t *n);
#endif
