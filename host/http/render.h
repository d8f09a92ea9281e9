/* render.h - the plan by which rows become JSON objects, made once per answer and used for each row. */
#ifndef HTTP_RENDER_H
#define HTTP_RENDER_H
#include "http/http.h"

enum { RENDER_FIELDS = 256 };
struct render_plan;
/* The process's one plan: valid until the next render_start, so nothing may suspend in between. SL_EINVAL: too many
 * fields. */
sl_err render_start(const json_t *schema, const sl_rows *rows, const struct render_plan **plan);
sl_err render_one(buf *out, const struct render_plan *plan, const sl_rows *rows, uint32_t row);
const char *render_field_failed(void); /* the field that the last SL_EINVAL was about */
#endif
