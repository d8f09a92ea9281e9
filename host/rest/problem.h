/* problem.h - error answers: application/problem+json (RFC 9457), and which status and code an error becomes. */
#ifndef REST_PROBLEM_H
#define REST_PROBLEM_H
#include "base/text.h"

/* application/problem+json of RFC 9457. errors: JSON array text or absent. */
void problem_write(buf *out, int status, sl_str code, sl_str detail, sl_str instance, sl_str trace_id, sl_str errors);
const char *problem_title(int status);
int problem_status(sl_err e, const char **code, const char **title); /* what an error code becomes */
#endif
