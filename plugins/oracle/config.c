/* config.c - the oracle's settings, read once when the plugin is created. */
#include "oracle.h"
#include "rfc3339.h"
#include <stdlib.h>

static sl_str keep(char **to, sl_str s)
{
    if (s.n == 0) return sl_lit(NULL, 0);
    memcpy(*to, s.p, s.n);
    s.p = *to;
    *to += s.n;
    return s;
}

/* Tokens stand between commas, semicolons or blanks. False: there are more than TOKENS_MAX. */
static int split_tokens(struct oracle *o, sl_str list)
{
    size_t from = 0;
    for (size_t i = 0; i <= list.n; i++) {
        if (i < list.n && !strchr(",; \t\r\n", list.p[i])) continue;
        if (i > from) {
            if (o->n_tokens == TOKENS_MAX) return 0;
            o->tokens[o->n_tokens++] = sl_lit(list.p + from, i - from);
        }
        from = i + 1;
    }
    return 1;
}

static void read_types(sl_call *c, struct oracle *o, char **to)
{
    sl_str types = sl_config(c, "content_types");
    for (unsigned i = 0; i < TYPES_MAX; i++) {
        char at[8];
        (void)snprintf(at, sizeof at, "/%u", i);
        sl_str type = sl_json_at(c, types, at);
        if (!sl_given(type)) break;
        o->types[o->n_types++] = keep(to, type);
    }
}

static void read_numbers(sl_call *c, struct oracle *o)
{
    o->ttl_us = sl_to_int(sl_config(c, "ttl_seconds"), 0) * 1000000;
    o->backoff_us = sl_duration_ms(sl_config(c, "backoff"), 10000) * 1000;
    o->backoff_max_us = sl_duration_ms(sl_config(c, "backoff_max"), 600000) * 1000;
    o->timeout_ms = sl_duration_ms(sl_config(c, "timeout"), 5000);
    o->max_tries = sl_to_int(sl_config(c, "max_attempts"), 3);
    o->url_max = (size_t)sl_to_int(sl_config(c, "url_max_bytes"), 256);
    o->filter_max = (size_t)sl_to_int(sl_config(c, "filter_max_bytes"), 128);
    o->result_max = (size_t)sl_to_int(sl_config(c, "result_max_bytes"), 65535);
    o->redirects = (unsigned)sl_to_int(sl_config(c, "max_redirects"), 2);
    o->dead_letters = !sl_is(sl_config(c, "dlq_enabled"), "false");
}

sl_err oracle_create(sl_call *c, void **self)
{
    sl_str tokens = sl_config(c, "runner_tokens"), url = sl_config(c, "resolver_url"),
           key = sl_config(c, "resolver_key");
    sl_str types = sl_config(c, "content_types");
    struct oracle *o = calloc(1, sizeof *o);
    char *to = o ? malloc(tokens.n + url.n + key.n + types.n + 1) : NULL;
    if (!to) {
        free(o);
        return sl_problem(c, 500, "no_memory", "There is no memory for the oracle's settings.");
    }
    o->text = to;
    read_numbers(c, o);
    o->resolver_url = keep(&to, url);
    o->resolver_key = keep(&to, key);
    read_types(c, o, &to);
    sl_err e = SL_OK;
    if (!split_tokens(o, keep(&to, tokens)))
        e = sl_problem(c, 500, "too_many_tokens",
                       "oracle: runner_tokens (ORACLE_RUNNER_TOKENS) holds more than 32 tokens.");
    else if (o->timeout_ms < 100 || o->timeout_ms > 60000)
        e = sl_problem(c, 500, "bad_timeout", "oracle: timeout must be between 100ms and 60s.");
    else if (o->backoff_us < 1000)
        e = sl_problem(c, 500, "bad_backoff", "oracle: backoff (ORACLE_BACKOFF) must be at least 1ms.");
    if (e)
        oracle_destroy(o); /* the host destroys only what was created */
    else
        *self = o;
    return e;
}

void oracle_destroy(void *self)
{
    struct oracle *o = self;
    if (o) free(o->text);
    free(o);
}

/* Every token is compared whole, whatever the first difference. */
int oracle_has_token(const struct oracle *o, sl_str token)
{
    int found = 0;
    for (size_t i = 0; i < o->n_tokens; i++) {
        volatile unsigned char different = o->tokens[i].n != token.n;
        for (size_t k = 0; k < o->tokens[i].n; k++)
            different |= (unsigned char)(o->tokens[i].p[k] ^ (token.n ? token.p[k % token.n] : 0));
        found |= different == 0;
    }
    return found;
}
