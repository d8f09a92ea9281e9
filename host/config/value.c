/* value.c - text of flags, environment and file into typed settings, with the sentence that says what is wrong. */
#include "config/settings.h"
#include "base/clock.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

void config_wipe(sl_str s)
{
    if (s.p && s.n) explicit_bzero((void *)(uintptr_t)s.p, s.n); /* host-owned memory behind a read-only view */
}

void config_complain(struct load *l, struct origin o, const char *path, const char *format, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, format);
    (void)vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    l->failed++;
    switch (o.source) {
    case FROM_FILE:
        buf_printf(l->errors, "%s:%d: ", o.name, o.line);
        break;
    case FROM_ENV:
        buf_printf(l->errors, "environment %s: ", o.name);
        break;
    case FROM_FLAG:
        buf_printf(l->errors, "flag -%s: ", o.name);
        break;
    case FROM_DEFAULT:
        break;
    }
    if (path && path[0] && (o.source == FROM_FILE || o.source == FROM_DEFAULT)) buf_printf(l->errors, "%s: ", path);
    buf_printf(l->errors, "%s\n", text);
}

size_t config_index(const char *path)
{
    size_t i = 0;
    while (strcmp(settings[i].path, path) != 0)
        i++;
    return i;
}

bool config_bool(sl_str text, bool *v)
{
    static const char *const yes[] = { "true", "1", "yes", "on" }, *const no[] = { "false", "0", "no", "off" };
    for (size_t i = 0; i < 4; i++) {
        *v = str_equal_nocase(text, sl_cstr(yes[i]));
        if (*v || str_equal_nocase(text, sl_cstr(no[i]))) return true;
    }
    return false;
}

/* "64KiB", "1MB", "4096": bytes. */
static bool parse_size(sl_str s, int64_t *v)
{
    static const struct {
        const char *unit;
        int64_t factor;
    } units[] = {
        { "", 1 },      { "B", 1 },        { "KiB", 1LL << 10 }, { "MiB", 1LL << 20 }, { "GiB", 1LL << 30 },
        { "KB", 1000 }, { "MB", 1000000 }, { "GB", 1000000000 },
    };
    size_t digits = 0;
    while (digits < s.n && isdigit((unsigned char)s.p[digits]))
        digits++;
    sl_str unit = str_trim(str_sub(s, digits, s.n));
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (str_equal_nocase(unit, sl_cstr(units[i].unit)))
            return str_to_int(str_sub(s, 0, digits), v) && !__builtin_mul_overflow(*v, units[i].factor, v);
    return false;
}

/* A bare number is seconds, or milliseconds where the name that sets it says so (slow-ms, MODULE_SLOW_MS, slow_ms). */
static bool parse_duration(sl_str s, const char *name, int64_t *ms)
{
    sl_str n = sl_cstr(name);
    if ((str_ends(n, "_ms") || str_ends(n, "_MS") || str_ends(n, "-ms")) && str_to_int(s, ms)) return true;
    return duration_parse(s, ms);
}

void config_show_int(const struct setting *s, int64_t v, buf *out)
{
    char text[64];
    if (s->type == SET_DURATION) {
        buf_add(out, text, duration_format(v, text, sizeof text));
    } else if (s->type == SET_SIZE && v && v % (1 << 30) == 0) {
        buf_printf(out, "%lldGiB", (long long)(v >> 30));
    } else if (s->type == SET_SIZE && v && v % (1 << 20) == 0) {
        buf_printf(out, "%lldMiB", (long long)(v >> 20));
    } else if (s->type == SET_SIZE && v && v % (1 << 10) == 0) {
        buf_printf(out, "%lldKiB", (long long)(v >> 10));
    } else {
        buf_add_int(out, v);
    }
}

/* The text for ", not "..."" of a message; nothing for secrets. */
static const char *quoted(const struct setting *s, sl_str text, char room[80])
{
    room[0] = 0;
    if (s->secret) return room;
    size_t n = (size_t)snprintf(room, 80, ", not \"");
    for (size_t i = 0; i < text.n && i < 60; i++)
        room[n++] = isprint((unsigned char)text.p[i]) ? text.p[i] : '?';
    (void)snprintf(room + n, 80 - n, "%s\"", text.n > 60 ? "..." : "");
    return room;
}

static bool set_number(struct load *l, const struct setting *s, struct origin o, sl_str text)
{
    static const char *const what[] = { [SET_INT] = "a whole number",
                                        [SET_DURATION] = "a time such as 250ms, 15s or 1h30m",
                                        [SET_SIZE] = "a size such as 4096, 64KiB or 1MiB" };
    int64_t v = 0;
    bool ok = s->type == SET_INT ? str_to_int(text, &v)
              : s->type == SET_SIZE
                  ? parse_size(text, &v)
                  : parse_duration(text, o.source == FROM_ENV || o.source == FROM_FLAG ? o.name : s->path, &v);
    if (ok && v >= s->min && v <= s->max) {
        memcpy((char *)l->cfg + s->at, &v, sizeof v);
        return true;
    }
    buf range;
    char instead[80];
    buf_init(&range, 200);
    config_show_int(s, s->min, &range);
    buf_add_cstr(&range, " to ");
    config_show_int(s, s->max, &range);
    config_complain(l, o, s->path, "must be %s from %.*s%s", what[s->type], STR_ARG(buf_str(&range)),
                    quoted(s, text, instead));
    buf_free(&range);
    return false;
}

static bool set_choice(struct load *l, const struct setting *s, struct origin o, sl_str text, sl_str *field)
{
    char instead[80], list[200] = "";
    sl_str rest = sl_cstr(s->choices), choice;
    while (str_split(&rest, '|', &choice)) {
        if (str_equal_nocase(choice, text)) {
            *field = arena_copy(l->cfg->pub.arena, choice);
            return true;
        }
        size_t n = strlen(list);
        (void)snprintf(list + n, sizeof list - n, "%s%.*s", n ? ", " : "", STR_ARG(choice));
    }
    config_complain(l, o, s->path, "must be one of %s%s", list, quoted(s, text, instead));
    return false;
}

static bool checked(struct load *l, const struct setting *s, struct origin o, sl_str text)
{
    char instead[80];
    const char *must = s->check ? s->check(text) : NULL;
    if (!must && memchr(text.p ? text.p : "", 0, text.n)) must = "must not contain a NUL";
    if (must) config_complain(l, o, s->path, "%s%s", must, quoted(s, text, instead));
    return !must;
}

static bool add_item(struct load *l, const struct setting *s, struct origin o, sl_str item, struct str_list *list)
{
    item = str_trim(item);
    if (item.n == 0) return true;
    if (!checked(l, s, o, item)) return false;
    list->item[list->n++] = arena_copy(l->cfg->pub.arena, item);
    return true;
}

static bool set_list(struct load *l, const struct setting *s, struct origin o, const sl_str *texts, size_t n,
                     bool split)
{
    struct str_list list = { NULL, 0 };
    size_t room = n;
    bool ok = true;
    for (size_t i = 0; split && i < n; i++)
        for (size_t j = 0; j < texts[i].n; j++)
            room += texts[i].p[j] == ',';
    list.item = arena_alloc(l->cfg->pub.arena, (room + 1) * sizeof *list.item);
    for (size_t i = 0; i < n; i++) {
        sl_str rest = texts[i], part;
        if (!split) ok = add_item(l, s, o, rest, &list) && ok;
        while (split && str_split(&rest, ',', &part))
            ok = add_item(l, s, o, part, &list) && ok;
    }
    if (ok) memcpy((char *)l->cfg + s->at, &list, sizeof list);
    return ok;
}

bool config_set(struct load *l, const struct setting *s, struct origin o, const sl_str *texts, size_t n, bool split)
{
    static const sl_str empty = { "", 0 };
    sl_str text = n ? str_trim(texts[0]) : empty, field = empty;
    bool flag = false, ok = true;
    if (s->type == SET_LIST) {
        ok = set_list(l, s, o, texts, n, split);
    } else if (s->type == SET_INT || s->type == SET_SIZE || s->type == SET_DURATION) {
        ok = set_number(l, s, o, text);
    } else if (s->type == SET_BOOL) {
        char instead[80];
        ok = config_bool(text, &flag);
        if (ok)
            memcpy((char *)l->cfg + s->at, &flag, sizeof flag);
        else
            config_complain(l, o, s->path, "must be true or false%s", quoted(s, text, instead));
    } else {
        if (s->secret && n) text = texts[0]; /* blanks may belong to a key or a password */
        if (text.n && s->type == SET_CHOICE) {
            ok = set_choice(l, s, o, text, &field);
        } else {
            ok = checked(l, s, o, text);
            field = text.n ? arena_copy(l->cfg->pub.arena, text) : empty;
        }
        if (ok) memcpy((char *)l->cfg + s->at, &field, sizeof field);
    }
    if (ok) l->cfg->origin[s - settings] = o;
    return ok;
}

const char *config_env_name(const struct setting *s, char *room, size_t size)
{
    size_t i = 0;
    for (; s->path[i] && i + 1 < size; i++)
        room[i] = s->path[i] == '.' ? '_' : (char)toupper((unsigned char)s->path[i]);
    room[i] = 0;
    return room;
}

static sl_str getenv_in(char **env, const char *name)
{
    size_t n = strlen(name);
    for (; env && *env; env++)
        if (strncmp(*env, name, n) == 0 && (*env)[n] == '=' && (*env)[n + 1]) return sl_cstr(*env + n + 1);
    return sl_lit(NULL, 0);
}

/* The file's content without the newline at its end. */
static bool read_secret(struct load *l, struct origin o, const char *path, const char *file, sl_str *value)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    char *room = arena_alloc(l->cfg->pub.arena, SECRET_FILE_MAX + 1);
    size_t n = 0;
    ssize_t got = fd < 0 ? -1 : 1;
    while (got > 0 && n <= SECRET_FILE_MAX) {
        got = read(fd, room + n, SECRET_FILE_MAX + 1 - n);
        if (got > 0) n += (size_t)got;
    }
    int error = errno;
    if (fd >= 0) close(fd);
    if (got < 0) {
        config_complain(l, o, path, "cannot read %s: %s", file, strerror(error));
        return false;
    }
    if (n > SECRET_FILE_MAX) {
        config_complain(l, o, path, "%s is larger than %d KiB", file, SECRET_FILE_MAX >> 10);
        return false;
    }
    if (n && room[n - 1] == '\n') n--;
    if (n && room[n - 1] == '\r') n--;
    *value = sl_lit(room, n);
    return true;
}

bool config_env(struct load *l, const char *name, bool secret, const char *path, sl_str *value, const char **used)
{
    *value = getenv_in(l->env, name);
    *used = name;
    if (!secret) return true;
    const char *file_name = arena_printf(l->cfg->pub.arena, "%s_FILE", name).p;
    sl_str file = getenv_in(l->env, file_name);
    if (!sl_given(file)) return true;
    *used = file_name;
    struct origin o = { FROM_ENV, 0, file_name };
    if (sl_given(*value)) {
        config_complain(l, o, path, "%s is set too; set only one of them", name);
        return false;
    }
    return read_secret(l, o, path, file.p, value);
}
