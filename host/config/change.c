/* change.c - a configuration beside the one in force: which settings differ, which of them apply while the server runs.
 */
#include "config/settings.h"
#include <sodium.h>

/* A setting whose path begins like one of these is read again by a reload of the configuration ... */
static const char *const live[] = { "server.tls.",
                                    "server.trusted_proxies",
                                    "server.cors_origins",
                                    "server.max_",
                                    "server.timeouts.",
                                    "server.body_min_rate",
                                    "server.require_tenant_header",
                                    "server.check_answers",
                                    "server.default_tenant",
                                    "server.page_",
                                    "server.idempotency_retention",
                                    "limits.",
                                    "logging.",
                                    "metrics.",
                                    "auth.",
                                    "audit.refusals",
                                    "audit.keep_days",
                                    "modules.",
                                    "jobs.",
                                    "outbound." };
/* ... but for these, which what has started already depends on. */
static const char *const at_start[] = { "modules.slow_ms", "jobs.lease", "jobs.poll_interval", "outbound.ca_file" };

bool config_applies_live(const struct setting *s)
{
    for (size_t i = 0; i < sizeof at_start / sizeof *at_start; i++)
        if (strcmp(s->path, at_start[i]) == 0) return false;
    for (size_t i = 0; i < sizeof live / sizeof *live; i++)
        if (str_starts(sl_cstr(s->path), live[i])) return true;
    return false;
}

/* ---- fingerprints: secrets are wiped once they are used, so values are compared by them ---- */
static void hash_text(crypto_generichash_state *h, sl_str s)
{
    uint64_t n = s.n;
    crypto_generichash_update(h, (const unsigned char *)&n, sizeof n);
    if (s.n) crypto_generichash_update(h, (const unsigned char *)s.p, s.n);
}

/* With a key of this process: a fingerprint that leaks tells nothing about a short secret. */
static void start_hash(crypto_generichash_state *h)
{
    static unsigned char key[crypto_generichash_KEYBYTES];
    static bool made;
    if (!made) randombytes_buf(key, sizeof key);
    made = true;
    crypto_generichash_init(h, key, sizeof key, CONFIG_PRINT);
}

static void print_value(const struct loaded *c, const struct setting *s, unsigned char out[CONFIG_PRINT])
{
    const void *field = (const char *)c + s->at;
    const struct str_list *list = field;
    crypto_generichash_state h;
    start_hash(&h);
    if (s->type == SET_LIST) {
        for (size_t i = 0; i < list->n; i++)
            hash_text(&h, list->item[i]);
    } else if (s->type == SET_BOOL) {
        crypto_generichash_update(&h, field, sizeof(bool));
    } else if (s->type == SET_INT || s->type == SET_SIZE || s->type == SET_DURATION) {
        crypto_generichash_update(&h, field, sizeof(int64_t));
    } else {
        hash_text(&h, *(const sl_str *)field);
    }
    crypto_generichash_final(&h, out, CONFIG_PRINT);
}

void config_print_values(struct loaded *c)
{
    for (size_t i = 0; i < n_settings; i++)
        print_value(c, &settings[i], c->print[i]);
}

/* ---- what differs ---- */
static bool same(const struct loaded *a, const struct loaded *b, size_t i)
{
    return memcmp(a->print[i], b->print[i], CONFIG_PRINT) == 0;
}

/* TLS can change its files while it is on, but not be switched on or off: the listeners speak one or the other. */
static bool can_apply(const struct loaded *a, const struct loaded *b, size_t i)
{
    if (str_starts(sl_cstr(settings[i].path), "server.tls.") && !a->pub.tls_cert.n != !b->pub.tls_cert.n) return false;
    return config_applies_live(&settings[i]);
}

void config_diff(const struct config *now, const struct config *next, struct config_diff *out)
{
    const struct loaded *a = (const struct loaded *)now, *b = (const struct loaded *)next;
    *out = (struct config_diff){ .n_live = 0 };
    for (size_t i = 0; i < n_settings; i++) {
        if (same(a, b, i)) continue;
        if (can_apply(a, b, i))
            out->live[out->n_live++] = settings[i].path;
        else
            out->restart[out->n_restart++] = settings[i].path;
    }
}

static void keep_value(const struct loaded *from, struct loaded *to, const struct setting *s)
{
    arena *a = to->pub.arena;
    const void *field = (const char *)from + s->at;
    void *at = (char *)to + s->at;
    if (s->type == SET_LIST) {
        const struct str_list *list = field;
        struct str_list copy = { arena_alloc(a, (list->n + 1) * sizeof *copy.item), list->n };
        for (size_t i = 0; i < list->n; i++)
            copy.item[i] = arena_copy(a, list->item[i]);
        memcpy(at, &copy, sizeof copy);
    } else if (s->type == SET_BOOL) {
        memcpy(at, field, sizeof(bool));
    } else if (s->type == SET_INT || s->type == SET_SIZE || s->type == SET_DURATION) {
        memcpy(at, field, sizeof(int64_t));
    } else {
        sl_str text = arena_copy(a, *(const sl_str *)field);
        memcpy(at, &text, sizeof text);
    }
}

void config_keep(const struct config *now, struct config *next)
{
    const struct loaded *a = (const struct loaded *)now;
    struct loaded *b = (struct loaded *)next;
    bool keep[SETTINGS_ROOM];
    for (size_t i = 0; i < n_settings; i++)
        keep[i] = !same(a, b, i) && !can_apply(a, b, i);
    for (size_t i = 0; i < n_settings; i++) {
        if (!keep[i]) continue;
        if (settings[i].secret) config_wipe_value(b, &settings[i]);
        keep_value(a, b, &settings[i]);
        memcpy(b->print[i], a->print[i], CONFIG_PRINT);
        b->origin[i] = a->origin[i];
        if (b->origin[i].name) b->origin[i].name = arena_copy(b->pub.arena, sl_cstr(b->origin[i].name)).p;
    }
}

/* ---- its tag ---- */
static void hash_plugin(crypto_generichash_state *h, const struct plugin_config *p)
{
    char *text = p->section ? json_dumps(p->section, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    hash_text(h, sl_cstr(p->name));
    hash_text(h, sl_cstr(text));
    if (text) explicit_bzero(text, strlen(text));
    free(text);
}

void config_tag(const struct config *cfg, char out[CONFIG_TAG])
{
    const struct loaded *c = (const struct loaded *)cfg;
    unsigned char hash[CONFIG_PRINT];
    crypto_generichash_state h;
    start_hash(&h);
    crypto_generichash_update(&h, c->print[0], n_settings * sizeof c->print[0]);
    for (const struct plugin_config *p = cfg->plugins; p; p = p->next)
        hash_plugin(&h, p);
    crypto_generichash_final(&h, hash, sizeof hash);
    sodium_bin2hex(out, CONFIG_TAG, hash, sizeof hash);
}
