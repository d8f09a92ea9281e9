/* pattern.h - route patterns such as "GET /things/{thing}": what is well formed, what clashes, the methods there are.
 */
#ifndef REST_PATTERN_H
#define REST_PATTERN_H
#include "base/text.h"

enum { ROUTE_PARAMS = 16, ROUTE_SEGMENTS = 32, ROUTE_TEXT = 512 };
enum route_method { ROUTE_GET, ROUTE_POST, ROUTE_PUT, ROUTE_PATCH, ROUTE_DELETE, ROUTE_METHODS };

/* "METHOD /a/{b}" well formed? False: why is the rest of a sentence that begins with the pattern. */
bool route_check(const char *name, char *why, size_t why_size);
/* Of well-formed patterns: would one request fit both? A parameter and a fixed segment do not clash, the fixed one
 * wins. */
bool route_clash(const char *a, const char *b);
bool path_same_shape(sl_str a, sl_str b); /* the same path but for the names of its parameters? */
static inline bool segment_is_param(sl_str segment) { return segment.n > 1 && segment.p[0] == '{'; }
/* The method and the path of "METHOD /path"; -1: it does not begin with one of the five. */
int route_split(sl_str name, sl_str *path);
int route_method_of(sl_str method);                            /* an enum route_method; -1: none of the five */
const char *route_method_name(int method);                     /* "GET" */
size_t route_allow_text(unsigned set, char *out, size_t room); /* of bits 1u << method: "GET, HEAD, POST, OPTIONS" */
#endif
