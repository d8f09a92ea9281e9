/* parts.h - private to the OpenAPI document: what all operations share. */
#ifndef OPENAPI_PARTS_H
#define OPENAPI_PARTS_H
#include "openapi/openapi.h"

void openapi_add_head(buf *b);                                /* version, title, what holds for all routes */
void openapi_add_components(buf *b, struct page_sizes sizes); /* parameters, headers, answers, schemas, how to log in */
bool openapi_common_answer(int status);
void openapi_problem_content(buf *b, int status, sl_str code); /* "content" of an answer that is a problem */
/* "name":{"$ref":"#/components/place/name"} */
void add_reference_named(buf *b, const char *name, const char *place);
#endif
