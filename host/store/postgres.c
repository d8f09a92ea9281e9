/* postgres.c - the PostgreSQL engine's place in builds that do not have it: it says so when asked to open. */
#include "store/backend.h"
#include <stdio.h>

static sl_err refuse(call *c, const struct store_config *cfg, char *why, size_t why_size)
{
    (void)c;
    (void)cfg;
    snprintf(why, why_size, "this build has no PostgreSQL support");
    return SL_EUNAVAIL;
}

const struct backend postgres_backend = { .name = "postgres", .durable = true, .open = refuse };
