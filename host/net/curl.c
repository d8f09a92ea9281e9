/* curl.c - loads libcurl and sees whether it can do what we need. */
#include "net/curl.h"
#include "base/library.h"
#include <stdio.h>

struct libcurl libcurl;

bool curl_load(char *why, size_t why_size)
{
    static const struct library_symbol symbols[] = {
#define X(name) { #name, &name },
        LIBCURL_FUNCTIONS(X)
#undef X
    };
    if (!library_load("libcurl.so.4", symbols, sizeof symbols / sizeof *symbols, why, why_size)) return false;
    if (curl_global_init(CURL_GLOBAL_DEFAULT)) {
        (void)snprintf(why, why_size, "libcurl cannot be initialised");
        return false;
    }
    int features = curl_version_info(CURLVERSION_NOW)->features;
    if ((features & CURL_VERSION_ASYNCHDNS) && (features & CURL_VERSION_SSL)) return true;
    (void)snprintf(why, why_size, "libcurl was built without %s",
                   features & CURL_VERSION_SSL ? "an asynchronous resolver" : "TLS");
    return false;
}
