/* aggregate.h - one result out of several: the exact decimal median, or what more than half of the sources say. */
#ifndef ORACLE_AGGREGATE_H
#define ORACLE_AGGREGATE_H
#include <service_layer/plugin.h>

enum { AGGREGATE_MAX = 16, DECIMAL_MAX = 512 };

/* Is this a number: plain, in quotes, or alone in a JSON array, with at most 64 digits and a small exponent? */
int decimal_readable(sl_str text);
/* The median of n readable texts (1 .. AGGREGATE_MAX) as plain decimal text, exact: of an even number the mean of both
 * middle ones. Returns its length, 0 when a text is not readable. */
size_t decimal_median(const sl_str *texts, size_t n, char out[DECIMAL_MAX]);
/* The index of a text that more than half of the n texts equal, or -1. */
int majority(const sl_str *texts, size_t n);
#endif
