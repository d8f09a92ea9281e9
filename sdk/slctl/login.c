/* login.c - signing in and out, and new tokens for a session: what the server gives is kept in a context. */
#include "slctl.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <termios.h>
#include <unistd.h>

/* ---- asking a person ---- */
/* One line from the terminal, which standard input may not be; a secret is not shown. */
static const char *ask(const char *what, bool secret)
{
    char line[1100];
    struct termios shown, hidden;
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) fail(USAGE, "--%s is missing, and there is no terminal to ask for it.", what);
    bool echo = secret && tcgetattr(fd, &shown) == 0;
    if (echo) {
        hidden = shown;
        hidden.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(fd, TCSAFLUSH, &hidden);
    }
    dprintf(fd, "%s: ", what);
    ssize_t n = read(fd, line, sizeof line - 1);
    if (echo) {
        tcsetattr(fd, TCSAFLUSH, &shown);
        dprintf(fd, "\n");
    }
    close(fd);
    if (n <= 0) fail(USAGE, "--%s: nothing was entered.", what);
    return keep_copy(line, strcspn(keep_copy(line, (size_t)n), "\r\n"));
}

static const char *text_or_file(const char *value)
{
    size_t n;
    if (*value != '@') return value;
    char *text = read_file(value + 1, &n);
    return keep_copy(text, strcspn(text, "\r\n"));
}

/* ---- the context that keeps it ---- */
static const char *context_name(const json_t *config)
{
    const char *current = json_string_value(json_object_get(config, "current"));
    return options.context ? options.context : current ? current : "default";
}

static void put(json_t *context, const char *name, const char *value)
{
    if (value && *value) json_object_set_new(context, name, json_string(value));
}

static const char *remember(const char *token, const char *refresh)
{
    json_t *config = contexts_change(), *contexts = json_object_get(config, "contexts");
    const char *name = context_name(config);
    json_t *context = json_object_get(contexts, name);
    if (!context && json_object_set_new(contexts, name, context = json_object()) != 0)
        fail(USAGE, "The name of a context must be UTF-8.");
    put(context, "addr", options.addr);
    put(context, "tenant", options.tenant);
    put(context, "ca_file", options.ca_file);
    json_object_del(context, "refresh_token");
    put(context, "token", token);
    put(context, "refresh_token", refresh);
    if (!json_object_get(config, "current")) json_object_set_new(config, "current", json_string(name));
    contexts_save(config);
    return name;
}

static struct answer post(const char *path, json_t *body, bool anonymous)
{
    struct call call = { .method = "POST", .path = path, .anonymous = anonymous };
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    if (text) {
        call.body_size = strlen(text);
        call.body = keep_copy(text, call.body_size);
        free(text);
    }
    return http_call(&call);
}

/* ---- commands ---- */
static void tell(const json_t *who, const char *context)
{
    struct text tenants = { 0 };
    size_t i;
    json_t *each;
    const char *user = json_string_value(json_object_get(who, "user")),
               *role = json_string_value(json_object_get(who, "role"));
    json_array_foreach (json_object_get(who, "tenants"), i, each)
        text_printf(&tenants, "%s%s", i ? ", " : "", json_is_string(each) ? json_string_value(each) : "?");
    printf("%s, role %s, tenants %s, at %s; kept in the context %s\n", visible(user ? user : "?"),
           visible(role ? role : "?"), visible(text_cstr(&tenants)), options.addr, visible(context));
}

static int with_token(void)
{
    struct call call = { .method = "GET", .path = "/auth/whoami" };
    struct answer a = http_call(&call);
    if (a.failed || a.status != 200) return complain(&a);
    tell(a.json, remember(options.token, NULL));
    return DONE;
}

int login_command(int argc, char **argv)
{
    const char *user = NULL, *password = NULL;
    for (int i = 0; i < argc; i++) {
        bool name = strcmp(argv[i], "--username") == 0, secret = strcmp(argv[i], "--password") == 0;
        if ((name || secret) && i + 1 >= argc) fail(USAGE, "%s needs a value.", argv[i]);
        if (name)
            user = argv[++i];
        else if (secret)
            password = argv[++i];
        else if (!global_flag(argc, argv, &i))
            fail(USAGE, "slctl login: unexpected %s.", visible(argv[i]));
    }
    const char *wanted = options.context;
    if (wanted && !context_find(contexts_load(), wanted)) options.context = NULL; /* it is about to be made */
    bool by_token = options.token != NULL;
    options_finish();
    options.context = wanted;
    if (by_token) return with_token();
    if (!user) user = ask("username", false);
    password = password ? text_or_file(password) : ask("password", true);
    json_t *body = keep_json(json_pack("{s:s, s:s}", "username", user, "password", password));
    if (!body) fail(USAGE, "User and password must be UTF-8.");
    struct answer a = post("/auth/login", body, true);
    const char *token = json_string_value(json_object_get(a.json, "token"));
    if (a.failed || a.status != 200 || !token) return complain(&a);
    tell(a.json, remember(token, json_string_value(json_object_get(a.json, "refresh_token"))));
    return DONE;
}

int logout_command(int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        if (!global_flag(argc, argv, &i)) fail(USAGE, "slctl logout: unexpected %s.", visible(argv[i]));
    options_finish();
    const json_t *context = context_find(contexts_load(), options.context);
    bool session = json_object_get(context, "refresh_token") != NULL;
    if (!json_object_get(context, "token")) fail(USAGE, "The context holds no token.");
    options.tenant = NULL; /* a session is of no tenant, and the context's may be one that its user may not act for */
    struct answer a = session ? post("/auth/logout", NULL, false) : (struct answer){ .status = 204 };
    json_t *config = contexts_change(), *now = (json_t *)context_find(config, options.context);
    json_object_del(now, "token");
    json_object_del(now, "refresh_token");
    contexts_save(config);
    if (a.failed || (a.status >= 300 && a.status != 401))
        return complain(&a); /* 401: the session had ended by itself */
    return DONE;
}

/* ---- a session that goes on ---- */
static bool ask_for_new(char *access, size_t access_size, char *refresh, size_t refresh_size)
{
    json_t *body = keep_json(json_pack("{s:s}", "refresh_token", options.refresh_token));
    struct answer a = post("/auth/refresh", body, true);
    const char *token = json_string_value(json_object_get(a.json, "token"));
    const char *next = json_string_value(json_object_get(a.json, "refresh_token"));
    if (a.failed || a.status != 200 || !token || !next) return false;
    return (size_t)snprintf(access, access_size, "%s", token) < access_size &&
           (size_t)snprintf(refresh, refresh_size, "%s", next) < refresh_size;
}

/* A refresh token is good once: of several slctl at a time one asks, and the others take what it has kept. */
bool login_refresh(void)
{
    static char access[8192], refresh[1024]; /* outlive every keep_release */
    if (!options.refresh_token) return false;
    int lock = options.from_context ? contexts_lock() : -1;
    json_t *config = options.from_context ? contexts_read() : NULL;
    json_t *context = config ? (json_t *)context_find(config, options.context) : NULL;
    const char *kept = json_string_value(json_object_get(context, "token"));
    const char *next = json_string_value(json_object_get(context, "refresh_token"));
    bool good = false;
    if (kept && next && strcmp(kept, options.token ? options.token : "") != 0) {
        good = (size_t)snprintf(access, sizeof access, "%s", kept) < sizeof access &&
               (size_t)snprintf(refresh, sizeof refresh, "%s", next) < sizeof refresh;
    } else if ((good = ask_for_new(access, sizeof access, refresh, sizeof refresh)) && context) {
        put(context, "token", access);
        put(context, "refresh_token", refresh);
        contexts_save(config);
    } else if (good) {
        warn("The refresh token is used up and the new one is not kept; `slctl login` keeps a session.");
    }
    if (lock >= 0) close(lock);
    if (!good) return false;
    options.token = access;
    options.refresh_token = refresh;
    return true;
}
