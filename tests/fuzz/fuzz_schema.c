/* fuzz_schema.c - JSON text against a schema with every keyword, and schema text itself; pointers into what was read.
 */
#include "fuzz.h"
#include "base/json.h"
#include "rest/schema.h"

#define NESTED                                                                                                         \
    SL_OBJECT(SL_REQUIRED("name", SL_STRING(1, 8), "x"), SL_OPTIONAL("n", SL_INTEGER(-5, 5) SL_DEFAULT("3"), "x"),     \
              SL_OPTIONAL("t", SL_TIME, "x"), SL_OPTIONAL("d", SL_DURATION, "x"), SL_OPTIONAL("m", SL_MONEY, "x"),     \
              SL_OPTIONAL("b", SL_BASE64, "x"), SL_OPTIONAL("i", SL_ID, "x"), SL_OPTIONAL("u", SL_URL, "x"),           \
              SL_OPTIONAL("e", SL_ENUM("a", "b"), "x"), SL_OPTIONAL("l", SL_LIST(SL_NAME, 3), "x"),                    \
              SL_OPTIONAL("o", SL_MAP(SL_BOOLEAN, 2), "x"), SL_OPTIONAL("any", SL_ANY, "x"))

static void finding(void *arg, const char *pointer, const char *detail)
{
    (void)arg;
    if (!str_is_utf8(sl_cstr(pointer)) || !*detail) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static json_t *schema;
    static arena *a;
    char why[256];
    sl_str pointer, text = fuzz_first(data, size, &pointer);
    if (!a) a = arena_new(0);
    if (!schema && !(schema = schema_read(SL(NESTED), why, sizeof why))) abort();
    json_t *v = json_read(text, why, sizeof why);
    if (v) {
        json_plain(a, json_point(v, pointer));
        if (schema_check(schema, v, finding, NULL) == 0 && schema_check(schema, v, finding, NULL) != 0) abort();
        json_decref(v);
    }
    json_t *other = schema_read(text, why, sizeof why);
    if (other) {
        json_t *empty = json_object();
        schema_check(other, empty, finding, NULL);
        json_decref(empty);
        json_decref(other);
    }
    arena_reset(a);
    return 0;
}
