/* fuzz_fetch.c - what a hostile source answers, as libcurl hands it over: head lines, pieces of a body, a redirect. */
#include "../../host/net/fetch_curl.c"
#include "fuzz.h"

static void read_back(const struct op *op)
{
    const char *p = op->head.p;
    for (size_t i = 0; i < op->n_headers; i++) {
        for (; *p; p++)
            if (*p >= 'A' && *p <= 'Z') abort(); /* names are in lower case */
        p++;
        p += strlen(p) + 1;
    }
    if (p != op->head.p + op->head.n || op->n_headers > HEADERS_MAX || op->head.n > HEAD_MAX) abort();
    sl_str encoding = op_header(op, "content-encoding");
    if (sl_given(encoding) && !encoding_ok(encoding)) abort();
}

static void redirect(struct op *op, bool secret)
{
    sl_str location = op_header(op, "location");
    op->status = 302;
    if (!sl_given(location) || !op_follow(op, location)) return;
    char *url = NULL, *user = NULL;
    if (curl_url_get(op->url, CURLUPART_URL, &url, 0)) abort();
    if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0) abort();
    if (op->foreign && op->send_body && op->request->body.n) abort(); /* secrets stay */
    if (op->foreign && !curl_url_get(op->url, CURLUPART_USER, &user, 0)) abort();
    if (secret && op->https == false) abort(); /* from https to http */
    curl_free(url);
    curl_free(user);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char why[300];
    (void)argc, (void)argv;
    if (!curl_load(why, sizeof why)) abort();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const sl_request request = { .size = sizeof request, .max_redirects = 3, .body = { "body", 4 } };
    struct op op = { .request = &request, .max_bytes = 1000, .send_body = true, .method = "PUT" };
    bool secret = size % 2, head = true;
    sl_str rest = sl_lit(size ? (const char *)data : "", size), line;
    op.url = curl_url();
    if (!op.url || curl_url_set(op.url, CURLUPART_URL, secret ? "https://me:word@a.test/x" : "http://me@a.test/x", 0))
        abort();
    strcpy(op.host, secret ? "a.test:443" : "a.test:80");
    op.https = secret;
    buf_init(&op.head, HEAD_MAX + 1024);
    buf_init(&op.body, op.max_bytes);
    on_header((char[]){ "HTTP/1.1 200 OK\r\n" }, 1, 17, &op);
    while (head && rest.n && str_split(&rest, '\n', &line)) {
        char *copy = malloc(line.n + 1); /* of its own, so that reading beyond it is seen */
        if (!copy) abort();
        if (line.n) memcpy(copy, line.p, line.n);
        copy[line.n] = '\n';
        head = on_header(copy, 1, line.n + 1, &op) == line.n + 1 && op.in_head;
        free(copy);
        if (!head && op.in_head && !op.error_class) abort(); /* whatever ends it has a reason */
    }
    while (rest.n && !op.error_class) {
        size_t n = rest.n < 300 ? rest.n : 300;
        if (on_body((char *)(uintptr_t)rest.p, 1, n, &op) != n && !op.error_class) abort();
        rest = str_sub(rest, n, rest.n);
    }
    if (op.body.n > op.max_bytes) abort();
    read_back(&op);
    if (!op.error_class) redirect(&op, secret);
    if (op.error_class && (!op.error[0] || !op.error_code)) abort();
    curl_url_cleanup(op.url);
    buf_free(&op.head);
    buf_free(&op.body);
    return 0;
}
