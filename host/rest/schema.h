/* schema.h - the JSON Schema subset (docs/api.md lists it): reading a schema, checking values, and its vocabulary. */
#ifndef REST_SCHEMA_H
#define REST_SCHEMA_H
#include "base/json.h"
#include <ctype.h>
#include <regex.h>
#include <stdlib.h>

/* Gather per-field "required": true, check that only known keywords are used. Owned by the caller; NULL: why. */
json_t *schema_read(sl_str text, char *why, size_t why_size);
/* Check `v`; fill in defaults of absent fields (changes v). Each finding: JSON pointer and sentence. Returns their
 * number. */
typedef void schema_report(void *arg, const char *pointer, const char *detail);
size_t schema_check(const json_t *schema, json_t *v, schema_report *report, void *arg);

/* ---- the vocabulary, for whatever else walks a schema ---- */
enum schema_word {
    WORD_UNKNOWN,
    WORD_TYPE,
    WORD_PROPERTIES,
    WORD_REQUIRED,
    WORD_ADDITIONAL,
    WORD_ITEMS,
    WORD_MIN_ITEMS,
    WORD_MAX_ITEMS,
    WORD_MIN_PROPERTIES,
    WORD_MAX_PROPERTIES,
    WORD_MIN_LENGTH,
    WORD_MAX_LENGTH,
    WORD_MINIMUM,
    WORD_MAXIMUM,
    WORD_ENUM,
    WORD_CONST,
    WORD_PATTERN,
    WORD_FORMAT,
    WORD_DEFAULT,
    WORD_EXAMPLE,
    WORD_DESCRIPTION,
    WORD_TITLE,
    WORD_WRITE_ONLY,
    WORD_X_ENV,
    WORD_MEDIA_TYPE
};
enum schema_word schema_word(const char *name);

/* Types as a set of bits. */
enum {
    TYPE_NULL = 1,
    TYPE_BOOLEAN = 2,
    TYPE_INTEGER = 4,
    TYPE_NUMBER = 8,
    TYPE_STRING = 16,
    TYPE_ARRAY = 32,
    TYPE_OBJECT = 64,
    TYPE_ALL = 127
};
unsigned schema_types(const json_t *schema); /* of its `type`; TYPE_ALL when it states none */
unsigned schema_type_bit(const char *name);  /* 0 = no such type */

bool schema_no_nul(const json_t *schema); /* text that a store has to keep: no NUL may be in it */

enum schema_format {
    FORMAT_NONE,
    FORMAT_UUID,
    FORMAT_URI,
    FORMAT_TIME,
    FORMAT_DURATION,
    FORMAT_DECIMAL,
    FORMAT_BYTE,
    FORMAT_UNKNOWN
};
enum schema_format schema_format(const json_t *schema);
/* NULL when `s` has the format, else what it must be. */
const char *schema_format_check(enum schema_format f, sl_str s);

/* The compiled form of a pattern, made once for the process (texts repeat over reloads); NULL: why. */
const regex_t *schema_pattern(const char *text, char *why, size_t why_size);
void schema_patterns_free(void);

enum { SCHEMA_DEPTH = 32, SCHEMA_FINDINGS = 50, SCHEMA_POINTER = 512 };
#endif
