/* fuzz_route.c - request paths against a router, and route patterns of plugins: method, NUL, path. */
#include "fuzz.h"
#include "http/http.h"
#include "http/router.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static router *r;
    static arena *a;
    char why[200] = "", pattern[512];
    struct route_match m;
    if (!r) {
        static const char *const routes[] = { "GET /accounts",
                                              "POST /accounts",
                                              "GET /accounts/{account}",
                                              "GET /accounts/me",
                                              "DELETE /accounts/{account}/secrets/{name}",
                                              "GET /{any}/x" };
        a = arena_new(0);
        r = router_new();
        for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
            if (!router_add(r, routes[i])) abort();
    }
    sl_str path, method = fuzz_first(data, size, &path);
    memset(&m, 0, sizeof m);
    router_find(r, method, path, a, &m);
    if (size < sizeof pattern) {
        if (size) memcpy(pattern, data, size);
        pattern[size] = 0;
        if (!route_check(pattern, why, sizeof why) && !*why) abort();
        if (route_check(pattern, why, sizeof why) && !route_clash(pattern, pattern)) abort();
    }
    arena_reset(a);
    return 0;
}
