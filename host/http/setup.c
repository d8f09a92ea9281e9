/* setup.c - the settings of the HTTP floor, copied once at start. */
#include "openapi/openapi.h"
#include "http/request.h"
#include "rest/schema.h"

struct http_config http_cfg;
static arena *texts, *names;
static struct kept {
    sl_str name;
    struct kept *next;
} * kept;

static const sl_str *copy_list(const sl_str *from, size_t n)
{
    sl_str *to = arena_alloc(texts, (n + 1) * sizeof *to);
    for (size_t i = 0; i < n; i++)
        to[i] = arena_copy(texts, from[i]);
    return to;
}

/* Text that requests in flight still point to when the settings change: each that ever was stays. */
static sl_str keep_text(sl_str name)
{
    struct kept *k = kept;
    while (k && !sl_same(k->name, name))
        k = k->next;
    if (k) return k->name;
    if (!names) names = arena_new(0);
    k = arena_alloc(names, sizeof *k);
    *k = (struct kept){ arena_copy(names, name), kept };
    kept = k;
    return k->name;
}

void http_setup(const struct http_config *cfg)
{
    arena_free(texts);
    texts = arena_new(0);
    identity_setup(&cfg->identity);
    access_setup();
    limits_setup(cfg);
    http_cfg = *cfg;
    openapi_setup((struct page_sizes){ cfg->page_default, cfg->page_max });
    http_cfg.identity = (struct identity_config){ 0 }; /* only hashes are kept */
    http_cfg.default_tenant = keep_text(cfg->default_tenant.n ? cfg->default_tenant : SL("default"));
    http_cfg.cors_origins = copy_list(cfg->cors_origins, cfg->n_cors_origins);
    http_cfg.tenant_rates = NULL; /* limits.c has read them */
    http_cfg.n_tenant_rates = 0;
    http_cfg.token_rate = http_cfg.address_rate = http_cfg.tenant_rate = sl_lit(NULL, 0);
}

void http_close(void)
{
    routes_close();
    openapi_close();
    requests_free();
    identity_close();
    limits_close();
    schema_patterns_free();
    arena_free(texts);
    arena_free(names);
    texts = names = NULL;
    kept = NULL;
    http_cfg = (struct http_config){ 0 };
}
