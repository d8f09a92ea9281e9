/* tls.c - TLS 1.2 and 1.3 by OpenSSL between a connection and its socket, without copies of cipher text in between. */
#include "base/log.h"
#include "net/conn.h"
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

/* OpenSSL reads from the bytes that have just come in and writes into the connection's wire buffer: a BIO of our own
 * instead of two memory BIOs, so that an idle connection keeps no buffers and nothing is copied twice. */
static int bio_read(BIO *b, char *to, int room)
{
    struct conn *c = BIO_get_data(b);
    size_t n = c->tls_n < (size_t)room ? c->tls_n : (size_t)room;
    BIO_clear_retry_flags(b);
    if (!n) {
        BIO_set_retry_read(b);
        return -1;
    }
    memcpy(to, c->tls_p, n);
    c->tls_p += n;
    c->tls_n -= n;
    return (int)n;
}

static int bio_write(BIO *b, const char *p, int n)
{
    struct conn *c = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    spare_take(&c->wire, 2 * (size_t)OUT_MAX);
    buf_add(&c->wire, p, (size_t)n);
    return c->wire.overflow ? -1 : n;
}

static long bio_ctrl(BIO *b, int what, long number, void *pointer)
{
    (void)b, (void)number, (void)pointer;
    return what == BIO_CTRL_FLUSH;
}

static BIO_METHOD *bio_method(void)
{
    static BIO_METHOD *m; /* one for the process */
    if (m) return m;
    m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "connection");
    if (!m) abort();
    BIO_meth_set_read(m, bio_read);
    BIO_meth_set_write(m, bio_write);
    BIO_meth_set_ctrl(m, bio_ctrl);
    return m;
}

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *n, const unsigned char *in,
                           unsigned in_n, void *arg)
{
    static const unsigned char mine[] = "\x08http/1.1";
    (void)ssl, (void)arg;
    return SSL_select_next_proto((unsigned char **)out, n, mine, sizeof mine - 1, in, in_n) == OPENSSL_NPN_NEGOTIATED
               ? SSL_TLSEXT_ERR_OK
               : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static SSL_CTX *tls_failed(SSL_CTX *ctx, const char *file, const char *what, char *why, size_t why_size)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    snprintf(why, why_size, "TLS: %s %s: %s", what, file, reason ? reason : "cannot be used");
    ERR_clear_error();
    SSL_CTX_free(ctx);
    return NULL;
}

/* OpenSSL would ask on the terminal, or wait for one. */
static int no_passphrase(char *text, int size, int writing, void *asked)
{
    (void)text, (void)size, (void)writing;
    *(bool *)asked = true;
    return -1;
}

SSL_CTX *tls_context(const char *cert, const char *key, char *why, size_t why_size)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (!ctx) return tls_failed(ctx, "", "context", why, why_size);
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                 SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS); /* idle connections hold no record buffers */
    /* Forward secrecy and authenticated encryption only; TLS 1.3 has its own list, which is fine. */
    if (!SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!SHA1"))
        return tls_failed(ctx, "", "cipher list", why, why_size);
    /* Resumption by tickets only: nothing is kept per client. The keys live as long as the context, so a reload changes
     * them. */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"service-layer", 13);
    SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1) return tls_failed(ctx, cert, "certificate", why, why_size);
    bool encrypted = false;
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, &encrypted);
    int loaded = SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL);
    if (loaded != 1)
        return tls_failed(ctx, key, encrypted ? "key is encrypted, one without a passphrase is needed:" : "key", why,
                          why_size);
    if (SSL_CTX_check_private_key(ctx) != 1)
        return tls_failed(ctx, key, "key does not belong to the certificate:", why, why_size);
    return ctx;
}

bool tls_open(struct conn *c)
{
    c->ssl = SSL_new(srv.tls);
    BIO *b = c->ssl ? BIO_new(bio_method()) : NULL;
    if (!b) return false;
    BIO_set_data(b, c);
    BIO_set_init(b, 1);
    SSL_set_bio(c->ssl, b, b);
    SSL_set_accept_state(c->ssl);
    return true;
}

void tls_free(struct conn *c)
{
    SSL_free(c->ssl);
    c->ssl = NULL;
}

static void handshake_failed(struct conn *c)
{
    const char *reason = ERR_reason_error_string(ERR_peek_error());
    log_debug("TLS handshake failed", LOG_S("remote", c->peer), LOG_C("reason", reason ? reason : "closed"));
    ERR_clear_error();
    srv.stats.parse_errors++;
    c->linger = true; /* the alert must arrive */
    conn_phase(c, CONN_FLUSH, 0);
}

/* True when the handshake is complete. */
static bool shake_hands(struct conn *c)
{
    if (SSL_get_state(c->ssl) == TLS_ST_BEFORE && c->tls_p[0] >= 'A' && c->tls_p[0] <= 'Z') {
        tls_free(c); /* plain HTTP: say so in its own language */
        conn_refuse(c, 400, "tls_required", "This port speaks HTTPS.");
        return false;
    }
    ERR_clear_error();
    int n = SSL_do_handshake(c->ssl);
    if (n == 1) {
        conn_phase(c, CONN_IDLE, srv.cfg.idle_ms);
        return true;
    }
    if (SSL_get_error(c->ssl, n) != SSL_ERROR_WANT_READ) handshake_failed(c);
    return false;
}

void tls_input(struct conn *c, const char *p, size_t n)
{
    static char plain[32 << 10]; /* what one record holds is at most half of it */
    c->tls_p = p;
    c->tls_n = n;
    if (c->phase == CONN_HANDSHAKE && !shake_hands(c)) return;
    while (c->phase < CONN_FLUSH) {
        ERR_clear_error();
        int got = SSL_read(c->ssl, plain, sizeof plain);
        if (got > 0) {
            conn_input(c, plain, (size_t)got);
            if (c->sensitive) explicit_bzero(plain, (size_t)got);
            continue;
        }
        int e = SSL_get_error(c->ssl, got);
        ERR_clear_error();
        if (e == SSL_ERROR_ZERO_RETURN)
            conn_eof(c);
        else if (e != SSL_ERROR_WANT_READ)
            conn_close(c);
        return;
    }
}

bool tls_encrypt(struct conn *c)
{
    ERR_clear_error();
    size_t done = 0;
    bool ok = SSL_write_ex(c->ssl, c->out.p, c->out.n, &done) == 1 && done == c->out.n;
    ERR_clear_error();
    spare_give(c, &c->out);
    return ok;
}

void tls_bye(struct conn *c)
{
    if (!SSL_is_init_finished(c->ssl)) return;
    SSL_shutdown(c->ssl);
    ERR_clear_error();
}
