/* fuzz_filter.c - the oracle's result filters: a path, a NUL, and the JSON text that it is applied to. */
#include "../../plugins/oracle/jsontext.c"
#include "../../plugins/oracle/jsonpath.c"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sl_str json, path = fuzz_first(data, size, &json);
    char *out = NULL;
    size_t n = 0;
    const char *malformed = jsonpath_check(path);
    const char *wrong = jsonpath_filter(json, path, 65535, &out, &n);
    if (malformed && !wrong) abort();
    if (!wrong && (n > 65535 || n < 2 || out[0] != '[')) abort();
    free(out);
    return 0;
}
