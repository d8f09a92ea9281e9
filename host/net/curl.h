/* curl.h - libcurl, loaded with the first outbound request: it and what it needs cost some 5 ms and 3 MB. */
#ifndef NET_CURL_H
#define NET_CURL_H
#define CURL_DISABLE_TYPECHECK /* its macros name the linked functions */
#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#undef curl_easy_setopt
#undef curl_easy_getinfo
#undef curl_multi_setopt

/* clang-format off */
#define LIBCURL_FUNCTIONS(X) \
    X(curl_easy_cleanup) X(curl_easy_getinfo) X(curl_easy_init) X(curl_easy_reset) X(curl_easy_setopt) \
    X(curl_easy_strerror) X(curl_free) X(curl_global_init) X(curl_multi_add_handle) X(curl_multi_assign) \
    X(curl_multi_cleanup) X(curl_multi_info_read) X(curl_multi_init) X(curl_multi_remove_handle) \
    X(curl_multi_setopt) X(curl_multi_socket_action) X(curl_slist_append) X(curl_slist_free_all) X(curl_url) \
    X(curl_url_cleanup) X(curl_url_get) X(curl_url_set) X(curl_url_strerror) X(curl_version_info)
/* clang-format on */
struct libcurl {
#define X(name) __typeof__(&(name)) name;
    LIBCURL_FUNCTIONS(X)
#undef X
};
extern struct libcurl libcurl;
/* Once, before any of them is called. false: it cannot be loaded, or misses what we need. Blocks for milliseconds. */
bool curl_load(char *why, size_t why_size);

/* clang-format off */
#define curl_easy_cleanup        libcurl.curl_easy_cleanup
#define curl_easy_getinfo        libcurl.curl_easy_getinfo
#define curl_easy_init           libcurl.curl_easy_init
#define curl_easy_reset          libcurl.curl_easy_reset
#define curl_easy_setopt         libcurl.curl_easy_setopt
#define curl_easy_strerror       libcurl.curl_easy_strerror
#define curl_free                libcurl.curl_free
#define curl_global_init         libcurl.curl_global_init
#define curl_multi_add_handle    libcurl.curl_multi_add_handle
#define curl_multi_assign        libcurl.curl_multi_assign
#define curl_multi_cleanup       libcurl.curl_multi_cleanup
#define curl_multi_info_read     libcurl.curl_multi_info_read
#define curl_multi_init          libcurl.curl_multi_init
#define curl_multi_remove_handle libcurl.curl_multi_remove_handle
#define curl_multi_setopt        libcurl.curl_multi_setopt
#define curl_multi_socket_action libcurl.curl_multi_socket_action
#define curl_slist_append        libcurl.curl_slist_append
#define curl_slist_free_all      libcurl.curl_slist_free_all
#define curl_url                 libcurl.curl_url
#define curl_url_cleanup         libcurl.curl_url_cleanup
#define curl_url_get             libcurl.curl_url_get
#define curl_url_set             libcurl.curl_url_set
#define curl_url_strerror        libcurl.curl_url_strerror
#define curl_version_info        libcurl.curl_version_info
/* clang-format on */
#endif
