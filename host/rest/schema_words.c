/* schema_words.c - the vocabulary of the JSON Schema subset: keywords, types, formats, patterns. */
#include "rest/schema.h"
#include "base/clock.h"
#include "base/id.h"

static const struct {
    const char *name;
    enum schema_word word;
} words[] = {
    { "type", WORD_TYPE },
    { "properties", WORD_PROPERTIES },
    { "required", WORD_REQUIRED },
    { "additionalProperties", WORD_ADDITIONAL },
    { "items", WORD_ITEMS },
    { "minItems", WORD_MIN_ITEMS },
    { "maxItems", WORD_MAX_ITEMS },
    { "minProperties", WORD_MIN_PROPERTIES },
    { "maxProperties", WORD_MAX_PROPERTIES },
    { "minLength", WORD_MIN_LENGTH },
    { "maxLength", WORD_MAX_LENGTH },
    { "minimum", WORD_MINIMUM },
    { "maximum", WORD_MAXIMUM },
    { "enum", WORD_ENUM },
    { "const", WORD_CONST },
    { "pattern", WORD_PATTERN },
    { "format", WORD_FORMAT },
    { "default", WORD_DEFAULT },
    { "example", WORD_EXAMPLE },
    { "description", WORD_DESCRIPTION },
    { "title", WORD_TITLE },
    { "writeOnly", WORD_WRITE_ONLY },
    { "x-env", WORD_X_ENV },
    { "contentMediaType", WORD_MEDIA_TYPE },
};

enum schema_word schema_word(const char *name)
{
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (words[i].name[0] == name[0] && strcmp(words[i].name, name) == 0) return words[i].word;
    return WORD_UNKNOWN;
}

unsigned schema_type_bit(const char *name)
{
    static const char *const names[] = { "null", "boolean", "integer", "number", "string", "array", "object" };
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0) return 1u << i;
    return 0;
}

unsigned schema_types(const json_t *schema)
{
    const json_t *type = json_object_get(schema, "type");
    if (!type) return TYPE_ALL;
    if (json_is_string(type)) return schema_type_bit(json_string_value(type));
    unsigned set = 0;
    for (size_t i = 0; i < json_array_size(type); i++)
        set |= schema_type_bit(json_string_value(json_array_get(type, i)));
    return set;
}

/* Secrets are sealed bytes, and a value that need not be text is kept as JSON. */
bool schema_no_nul(const json_t *schema)
{
    return (schema_types(schema) | TYPE_NULL) == (TYPE_STRING | TYPE_NULL) &&
           !json_is_true(json_object_get(schema, "writeOnly"));
}

static const struct {
    const char *name;
    enum schema_format format;
    const char *must;
} formats[] = {
    { "uuid", FORMAT_UUID, "must be a UUID" },
    { "uri", FORMAT_URI, "must be an absolute URI such as https://example.org/path" },
    { "date-time", FORMAT_TIME, "must be an RFC 3339 time such as 2026-01-31T12:00:00Z" },
    { "duration", FORMAT_DURATION, "must be a duration such as 250ms, 15s or 1h30m" },
    { "decimal", FORMAT_DECIMAL, "must be a decimal number in text, such as \"6.5\", with at most 8 fraction digits" },
    { "byte", FORMAT_BYTE, "must be base64" },
};

enum schema_format schema_format(const json_t *schema)
{
    const char *name = json_string_value(json_object_get(schema, "format"));
    if (!name) return FORMAT_NONE;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strcmp(formats[i].name, name) == 0) return formats[i].format;
    return FORMAT_UNKNOWN;
}

/* RFC 3986: a scheme, a colon, and after it nothing that a URI cannot hold. With "//" there must be an authority. */
static bool is_uri(sl_str s)
{
    size_t i = 0;
    while (i < s.n && (isalnum((unsigned char)s.p[i]) || (i && strchr("+-.", s.p[i]) && s.p[i])))
        i++;
    if (i == 0 || i >= s.n || s.p[i] != ':' || !isalpha((unsigned char)s.p[0]) || i + 1 == s.n) return false;
    sl_str rest = str_sub(s, i + 1, s.n);
    for (size_t k = 0; k < rest.n; k++) {
        unsigned char ch = (unsigned char)rest.p[k];
        if (ch <= ' ' || ch == 0x7f || strchr("<>\"\\^`", ch)) return false;
    }
    return !str_starts(rest, "//") || (rest.n > 2 && !strchr("/?#", rest.p[2]));
}

static bool is_base64(sl_str s)
{
    size_t n = s.n;
    if (n % 4) return false;
    while (n && s.n - n < 2 && s.p[n - 1] == '=')
        n--;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)s.p[i]) && s.p[i] != '+' && s.p[i] != '/') return false;
    return true;
}

const char *schema_format_check(enum schema_format f, sl_str s)
{
    int64_t ignored;
    bool good = true;
    switch (f) {
    case FORMAT_UUID:
        good = id_valid(s);
        break;
    case FORMAT_URI:
        good = is_uri(s);
        break;
    case FORMAT_TIME:
        good = clock_parse(s, &ignored);
        break;
    case FORMAT_DURATION:
        good = duration_parse(s, &ignored) && ignored >= 0;
        break;
    case FORMAT_DECIMAL:
        good = money_parse(s, &ignored);
        break;
    case FORMAT_BYTE:
        good = is_base64(s);
        break;
    case FORMAT_NONE:
    case FORMAT_UNKNOWN:
        break;
    }
    if (good) return NULL;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (formats[i].format == f) return formats[i].must;
    return NULL;
}

/* ---- patterns: POSIX extended regular expressions, kept by their text ---- */
struct pattern {
    char *text;
    regex_t regex;
    struct pattern *next;
};
static struct pattern *patterns[256];

const regex_t *schema_pattern(const char *text, char *why, size_t why_size)
{
    struct pattern **slot = &patterns[str_hash(sl_cstr(text)) % (sizeof patterns / sizeof *patterns)];
    for (struct pattern *p = *slot; p; p = p->next)
        if (strcmp(p->text, text) == 0) return &p->regex;
    if (strlen(text) > 512) {
        snprintf(why, why_size, "a pattern may be 512 bytes long at the most");
        return NULL;
    }
    /* \d, \w and back references differ between dialects, or cost exponential time: better refused than misread. */
    for (const char *at = text; (at = strchr(at, '\\')); at += 2)
        if (isalnum((unsigned char)at[1]) || !at[1]) {
            snprintf(why, why_size, "`\\%.1s` is not a POSIX extended expression; write a class such as [0-9]", at + 1);
            return NULL;
        }
    struct pattern *p = calloc(1, sizeof *p);
    if (!p || !(p->text = strdup(text))) abort();
    int failed = regcomp(&p->regex, text, REG_EXTENDED | REG_NOSUB);
    if (failed) {
        regerror(failed, &p->regex, why, why_size);
        free(p->text);
        free(p);
        return NULL;
    }
    p->next = *slot;
    *slot = p;
    return &p->regex;
}

void schema_patterns_free(void)
{
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        for (struct pattern *p = patterns[i], *next; p; p = next) {
            next = p->next;
            regfree(&p->regex);
            free(p->text);
            free(p);
        }
    memset(patterns, 0, sizeof patterns);
}
