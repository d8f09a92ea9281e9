/* load.c - configuration out of flags, environment, file and defaults: who wins, what is derived, what must fit
 * together. */
#include "config/settings.h"
#include "base/jwt.h"
#include "base/seal.h"
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct flags {
    const char *value[SETTINGS_ROOM], *config, *check_plugin, *format;
}; /* value by index of the setting; NULL = not given */

static const struct origin nowhere = { FROM_DEFAULT, 0, NULL };

static void set_command(struct load *l, size_t at, sl_str text, const char *flag)
{
    bool v;
    if (!config_bool(text, &v)) {
        config_complain(l, (struct origin){ FROM_FLAG, 0, flag }, "", "must be true or false");
        return;
    }
    memcpy((char *)l->cfg + at, &v, sizeof v);
}

static void unknown_flag(struct load *l, sl_str name)
{
    const char *names[SETTINGS_ROOM + 16] = { "config", "check-plugin", "o" };
    size_t n = 3;
    for (size_t i = 0; i < n_commands; i++)
        names[n++] = commands[i].flag;
    for (size_t i = 0; i < n_settings; i++)
        if (settings[i].flag) names[n++] = settings[i].flag;
    const char *hint = str_nearest(name, names, n);
    config_complain(l, nowhere, "", "unknown flag -%.*s%s%s%s", STR_ARG(str_sub(name, 0, 60)),
                    hint ? ", did you mean -" : "", hint ? hint : "", hint ? "?" : "; -help lists the flags");
}

/* One flag; `value` is absent unless it stood behind `=`. Returns how many arguments it took. */
static int read_flag(struct load *l, struct flags *f, sl_str name, sl_str value, const char *next)
{
    for (size_t i = 0; i < n_commands; i++) {
        if (!sl_is(name, commands[i].flag)) continue;
        set_command(l, commands[i].at, sl_given(value) ? value : SL("true"), commands[i].flag);
        return 1;
    }
    const char **slot = sl_is(name, "config")         ? &f->config
                        : sl_is(name, "check-plugin") ? &f->check_plugin
                        : sl_is(name, "o")            ? &f->format
                                                      : NULL;
    bool boolean = false;
    for (size_t i = 0; i < n_settings && !slot; i++) {
        if (!settings[i].flag || !sl_is(name, settings[i].flag)) continue;
        slot = &f->value[i];
        boolean = settings[i].type == SET_BOOL;
    }
    if (!slot) {
        unknown_flag(l, name);
        return sl_given(value) || !next || next[0] == '-' ? 1 : 2; /* what follows is its value, most likely */
    }
    if (sl_given(value) || boolean) {
        *slot = sl_given(value) ? value.p : "true";
        return 1;
    }
    if (!next)
        config_complain(l, (struct origin){ FROM_FLAG, 0, arena_copy(l->cfg->pub.arena, name).p }, "", "needs a value");
    else
        *slot = next;
    return 2;
}

static void read_flags(struct load *l, struct flags *f, int argc, char **argv)
{
    bool ended = false;
    for (int i = 1; i < argc;) {
        const char *arg = argv[i];
        if (ended || arg[0] != '-' || !arg[1]) {
            config_complain(l, nowhere, "", "unexpected argument \"%.60s\"; flags start with a dash", arg);
            i++;
        } else if (strcmp(arg, "--") == 0) {
            ended = true;
            i++;
        } else {
            arg += arg[1] == '-' ? 2 : 1;
            const char *equals = strchr(arg, '=');
            sl_str name = equals ? sl_lit(arg, (size_t)(equals - arg)) : sl_cstr(arg);
            i += read_flag(l, f, name, equals ? sl_cstr(equals + 1) : sl_lit(NULL, 0),
                           i + 1 < argc ? argv[i + 1] : NULL);
        }
    }
}

static void set_defaults(struct load *l)
{
    static const sl_str empty = { "", 0 };
    for (size_t i = 0; i < n_settings; i++) {
        sl_str text = sl_cstr(settings[i].initial);
        if (text.n || settings[i].type == SET_LIST)
            config_set(l, &settings[i], nowhere, &text, 1, true);
        else
            memcpy((char *)l->cfg + settings[i].at, &empty, sizeof empty);
    }
}

/* All names of one setting: of several that are set the first wins, but lists are joined. */
static void read_env(struct load *l, const struct setting *s)
{
    char derived[80];
    sl_str names = sl_cstr(s->env ? s->env : ""), name, found[4];
    const char *used, *first = NULL;
    size_t n = 0;
    bool file[4] = { false };
    for (int i = 0; i < 4; i++) {
        bool more = str_split(&names, ' ', &name) && name.n;
        if (!more) name = sl_cstr(config_env_name(s, derived, sizeof derived));
        name = arena_copy(l->cfg->pub.arena, name);
        if (config_env(l, name.p, s->secret, s->path, &found[n], &used) && sl_given(found[n])) {
            first = first ? first : used;
            file[n] = used != name.p;
            n++;
        }
        if (!more) break;
    }
    if (n) config_set(l, s, (struct origin){ FROM_ENV, 0, first }, found, s->type == SET_LIST ? n : 1, true);
    for (size_t i = 0; i < n; i++)
        if (file[i]) config_wipe(found[i]);
}

static void read_sources(struct load *l, const struct flags *f)
{
    const char *used, *file = f->config;
    sl_str value;
    if (!file && config_env(l, "CONFIG_FILE", false, "", &value, &used) && sl_given(value)) file = value.p;
    if (!file && access("configs/config.yaml", F_OK) == 0) file = "configs/config.yaml";
    if (file && file[0]) config_read_file(l, file);
    for (size_t i = 0; i < n_settings; i++) {
        read_env(l, &settings[i]);
        if (!f->value[i]) continue;
        value = sl_cstr(f->value[i]);
        config_set(l, &settings[i], (struct origin){ FROM_FLAG, 0, settings[i].flag }, &value, 1, true);
    }
}

static struct origin origin_of(const struct load *l, const char *path) { return l->cfg->origin[config_index(path)]; }

static bool stronger(const struct load *l, const char *a, const char *b)
{
    return origin_of(l, a).source > origin_of(l, b).source;
}

/* host and port make the listener unless `listen` was given by a source at least as strong. */
static void derive_listen(struct load *l)
{
    struct config *c = &l->cfg->pub;
    if (c->listen.n && !stronger(l, "server.host", "server.listen") && !stronger(l, "server.port", "server.listen"))
        return;
    bool v6 = l->cfg->host.n && memchr(l->cfg->host.p, ':', l->cfg->host.n) && l->cfg->host.p[0] != '[';
    c->listen.item = arena_alloc(c->arena, sizeof *c->listen.item);
    c->listen.n = 1;
    c->listen.item[0] = arena_printf(c->arena, v6 ? "[%.*s]:%lld" : "%.*s:%lld", STR_ARG(l->cfg->host),
                                     (long long)l->cfg->port);
}

static void add_escaped(buf *b, sl_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char ch = (unsigned char)s.p[i];
        bool plain = (ch | 32) >= 'a' && (ch | 32) <= 'z';
        if (plain || (ch >= '0' && ch <= '9') || ch == '-' || ch == '.' || ch == '_' || ch == '~')
            buf_add_char(b, (char)ch);
        else
            buf_printf(b, "%%%02X", ch);
    }
}

/* A DSN wins over its parts, unless a stronger source names a host or a database. */
static void derive_dsn(struct load *l)
{
    struct loaded *c = l->cfg;
    size_t dsn = config_index("database.dsn");
    bool parts = c->db_host.n || c->db_name.n;
    bool given = c->pub.dsn.n || c->origin[dsn].source != FROM_DEFAULT;
    if (!parts ||
        (given && !stronger(l, "database.host", "database.dsn") && !stronger(l, "database.name", "database.dsn")))
        return;
    buf b;
    buf_init(&b, 8192);
    buf_add_cstr(&b, "postgres://");
    add_escaped(&b, c->db_user);
    if (c->db_password.n) {
        buf_add_char(&b, ':');
        add_escaped(&b, c->db_password);
    }
    if (c->db_user.n || c->db_password.n) buf_add_char(&b, '@');
    bool v6 = c->db_host.n && memchr(c->db_host.p, ':', c->db_host.n);
    if (v6)
        buf_printf(&b, "[%.*s]", STR_ARG(c->db_host));
    else
        add_escaped(&b, c->db_host.n ? c->db_host : SL("localhost"));
    buf_printf(&b, ":%lld/", (long long)c->db_port);
    add_escaped(&b, c->db_name);
    if (c->db_sslmode.n) buf_printf(&b, "?sslmode=%.*s", STR_ARG(c->db_sslmode));
    if (b.overflow) config_complain(l, nowhere, "database", "the parts are longer than 8 KiB");
    c->pub.dsn = arena_copy(c->pub.arena, buf_str(&b));
    c->origin[dsn] = c->origin[config_index(c->db_host.n ? "database.host" : "database.name")];
    config_wipe(buf_str(&b));
    buf_free(&b);
}

static bool is_directory(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The first of the places that exists, else the last. In the source tree the executable stands at the top (./appserver
 * with build/plugins beside it) or in a build directory (build-address/appserver); installed it stands in PREFIX/bin.
 */
static struct str_list beside_executable(arena *a, const char *directory, const char *what)
{
    bool built = strncmp(strrchr(directory, '/') ? strrchr(directory, '/') + 1 : directory, "build", 5) == 0;
    bool plugins = strcmp(what, "plugins") == 0;
    sl_str places[] = {
        built ? arena_printf(a, plugins ? "%s/%s" : "%s/../%s", directory, what)
              : arena_printf(a, plugins ? "%s/build/%s" : "%s/%s", directory, what),
        arena_printf(a, plugins ? "%s/../lib/service-layer/%s" : "%s/../share/service-layer/%s", directory, what),
    };
    struct str_list list = { arena_alloc(a, sizeof *list.item), 1 };
    list.item[0] = is_directory(places[0].p) ? places[0] : places[1];
    return list;
}

static void derive_directories(struct load *l)
{
    char path[PATH_MAX];
    struct config *c = &l->cfg->pub;
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    path[n > 0 ? n : 0] = 0;
    char *slash = strrchr(path, '/');
    if (slash) *slash = 0;
    if (!c->plugin_dirs.n) c->plugin_dirs = beside_executable(c->arena, path, "plugins");
    if (!c->migration_dirs.n) c->migration_dirs = beside_executable(c->arena, path, "migrations");
}

static void check_sign_in(struct load *l)
{
    struct config *c = &l->cfg->pub;
    char why[256];
    if (c->jwt_secret.n && c->jwt_secret.n < JWT_SECRET_MIN)
        config_complain(l, origin_of(l, "auth.jwt_secret"), "auth.jwt_secret",
                        "must be at least 32 bytes; `openssl rand -hex 32` makes one");
    if (!c->jwt_secret.n && (c->users.n || c->wallets))
        config_complain(l, origin_of(l, c->users.n ? "auth.users" : "auth.wallet.enabled"),
                        c->users.n ? "auth.users" : "auth.wallet.enabled",
                        "needs auth.jwt_secret (AUTH_JWT_SECRET) too; `openssl rand -hex 32` makes one");
    if (!c->provider_keys.n) return;
    jwt_keys *keys = jwt_keys_load(c->provider_keys, why, sizeof why);
    if (!keys) config_complain(l, origin_of(l, "auth.provider.keys"), "auth.provider.keys", "%s", why);
    jwt_keys_free(keys);
}

static void check_together(struct load *l)
{
    struct config *c = &l->cfg->pub;
    char why[256];
    if (c->page_default > c->page_max)
        config_complain(l, origin_of(l, "server.page_default"), "server.page_default",
                        "must not exceed server.page_max (%lld)", (long long)c->page_max);
    if (c->job_backoff_ms > c->job_backoff_max_ms)
        config_complain(l, origin_of(l, "jobs.backoff"), "jobs.backoff", "must not exceed jobs.backoff_max");
    if (c->tls_cert.n && !c->tls_key.n)
        config_complain(l, origin_of(l, "server.tls.cert"), "server.tls.cert",
                        "needs server.tls.key (TLS_KEY_FILE) too");
    if (c->tls_key.n && !c->tls_cert.n)
        config_complain(l, origin_of(l, "server.tls.key"), "server.tls.key",
                        "needs server.tls.cert (TLS_CERT_FILE) too");
    if (c->max_idle_conns > c->max_open_conns) c->max_idle_conns = c->max_open_conns;
    if (c->outbound_max_per_host > c->outbound_max_total) c->outbound_max_per_host = c->outbound_max_total;
    if (!c->secret_keys.n) return;
    keyring *keys = keyring_new(c->secret_keys, why, sizeof why);
    if (!keys)
        config_complain(l, origin_of(l, "security.secret_encryption_key"), "security.secret_encryption_key", "%s", why);
    keyring_free(keys);
}

static void take_check(struct load *l, const struct flags *f)
{
    struct config *c = &l->cfg->pub;
    c->check_plugin = sl_cstr(f->check_plugin ? f->check_plugin : "");
    c->check_format = sl_cstr(f->format ? f->format : "text");
    struct origin o = { FROM_FLAG, 0, "o" };
    if (!sl_is(c->check_format, "text") && !sl_is(c->check_format, "json"))
        config_complain(l, o, "", "must be one of text, json");
    else if (f->format && !f->check_plugin)
        config_complain(l, o, "", "says how -check-plugin prints: it needs -check-plugin FILE.so");
}

struct config *config_load(int argc, char **argv, char **env, buf *errors)
{
    struct flags flags = { { NULL }, NULL, NULL, NULL };
    arena *a = arena_new(0);
    struct loaded *cfg = arena_alloc(a, sizeof *cfg);
    struct load l = { .cfg = cfg, .errors = errors, .env = env };
    cfg->pub.arena = a;
    cfg->pub.file = SL("");
    set_defaults(&l);
    read_flags(&l, &flags, argc, argv);
    take_check(&l, &flags);
    if (!cfg->pub.show_help && !cfg->pub.show_version &&
        !cfg->pub.hash_password) { /* these three answer even where the rest is wrong */
        read_sources(&l, &flags);
        if (l.failed == 0) {
            derive_listen(&l);
            derive_dsn(&l);
        }
        derive_directories(&l);
        check_together(&l);
        check_sign_in(&l);
        config_print_values(cfg);
    }
    if (l.failed == 0 || cfg->pub.check) return &cfg->pub; /* -check goes on to what the plugins say */
    config_free(&cfg->pub);
    return NULL;
}

void config_wipe_value(const struct loaded *c, const struct setting *s)
{
    const void *field = (const char *)c + s->at;
    if (s->type == SET_LIST) {
        const struct str_list *list = field;
        for (size_t i = 0; i < list->n; i++)
            config_wipe(list->item[i]);
    } else {
        const sl_str *text = field;
        if (text->n) config_wipe(*text);
    }
}

void config_free(struct config *cfg)
{
    if (!cfg) return;
    for (size_t i = 0; i < n_settings; i++)
        if (settings[i].secret) config_wipe_value((struct loaded *)cfg, &settings[i]);
    config_free_plugins(cfg);
    arena_free(cfg->arena);
}
