/* signature.c - detached Ed25519 signatures of plugin files (RFC 8032), over the whole file. */
#include "base/id.h"
#include "module/private.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <unistd.h>

enum { SIGNATURE_FILE_MAX = 512 };

/* 64 raw bytes, or the same as hex or base64 with blanks around it. */
static bool read_signature(const char *path, unsigned char out[crypto_sign_BYTES], char *why, size_t why_size)
{
    char name[PATH_MAX], text[SIGNATURE_FILE_MAX];
    int n = snprintf(name, sizeof name, "%s.sig", path);
    int fd = n > 0 && (size_t)n < sizeof name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t size = fd >= 0 ? read(fd, text, sizeof text) : -1;
    if (fd < 0)
        snprintf(why, why_size, "is not signed: %.150s cannot be read (%s); sign it with a key of modules.trusted_keys",
                 name, strerror(errno));
    if (fd >= 0) close(fd);
    if (size < 0) return false;
    if (size == crypto_sign_BYTES) {
        memcpy(out, text, crypto_sign_BYTES);
        return true;
    }
    if (bytes_decode(str_trim(sl_lit(text, (size_t)size)), out, crypto_sign_BYTES)) return true;
    snprintf(why, why_size, "its signature %.150s is not 64 bytes, raw, hex or base64", name);
    return false;
}

bool signature_good(const char *path, const void *file, size_t size, char *why, size_t why_size)
{
    unsigned char signature[crypto_sign_BYTES], key[crypto_sign_PUBLICKEYBYTES];
    if (!read_signature(path, signature, why, why_size)) return false;
    for (size_t i = 0; i < module_cfg->trusted_keys.n; i++)
        if (bytes_decode(module_cfg->trusted_keys.item[i], key, sizeof key) &&
            crypto_sign_verify_detached(signature, file, size, key) == 0)
            return true;
    snprintf(why, why_size,
             "its signature is of no trusted key, or the file was changed after it was signed: sign it again "
             "with a key of modules.trusted_keys");
    return false;
}
