/* fuzz_text.c - numbers, times, durations, money, base64, UTF-8: what is read must be written back the same. */
#include "fuzz.h"
#include "base/clock.h"
#include "base/id.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static arena *a;
    sl_str s = sl_lit(size ? (const char *)data : "", size), bytes;
    int64_t v, again;
    char text[64];
    if (!a) a = arena_new(0);
    if (clock_parse(s, &v)) {
        char out[CLOCK_TEXT];
        if (!clock_parse(sl_lit(out, clock_format(v, out)), &again)) abort();
        if (again != v && v > -62135596800000000 && v < 253402300800000000) abort();
    }
    if (money_parse(s, &v) && (!money_parse(sl_lit(text, money_format(v, text, sizeof text)), &again) || again != v))
        abort();
    if (duration_parse(s, &v) &&
        (!duration_parse(sl_lit(text, duration_format(v, text, sizeof text)), &again) || again != v))
        abort();
    if (str_to_int(s, &v)) {
        buf b = { .max = 64 };
        buf_add_int(&b, v);
        if (!str_to_int(buf_str(&b), &again) || again != v) abort();
        buf_free(&b);
    }
    if (base64_decode(a, s, &bytes) && size < 4096) {
        sl_str back;
        if (!base64_decode(a, base64_encode(a, bytes), &back) || !sl_same(back, bytes)) abort();
    }
    str_is_utf8(s);
    id_valid(s);
    arena_reset(a);
    return 0;
}
