/* fuzz_config.c - configuration files: whatever they hold, config_load answers with a configuration or with errors. */
#include "fuzz.h"
#include "config/config.h"
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char path[] = "/tmp/sl-fuzz-config-XXXXXX";
    static int fd = -1;
    char name[] = "appserver", flag[] = "-config";
    char *argv[] = { name, flag, path, NULL }, *env[] = { NULL };
    buf errors, shown;
    if (fd < 0 && (fd = mkstemp(path)) < 0) abort();
    if (ftruncate(fd, 0) || pwrite(fd, data, size, 0) != (ssize_t)size) abort();
    buf_init(&errors, 1 << 20);
    buf_init(&shown, 1 << 20);
    struct config *cfg = config_load(3, argv, env, &errors);
    if (!cfg && !errors.n) abort(); /* refused without a word */
    if (cfg) config_print(cfg, &shown);
    config_free(cfg);
    buf_free(&errors);
    buf_free(&shown);
    return 0;
}
