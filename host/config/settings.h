/* settings.h - private to config/: the table of settings and what the loading steps share. */
#ifndef CONFIG_SETTINGS_H
#define CONFIG_SETTINGS_H
#include "config/config.h"
#include <yaml.h>

enum setting_type { SET_TEXT, SET_INT, SET_BOOL, SET_DURATION, SET_SIZE, SET_LIST, SET_CHOICE };
struct setting {
    const char *path; /* "server.tls.cert": its place in the file; also SERVER_TLS_CERT in the environment */
    enum setting_type type;
    size_t at;           /* offset of its field in struct loaded */
    const char *initial; /* default as text; "" = empty */
    const char *env;     /* further environment names, blank separated, that win over the derived one; or NULL */
    const char *flag;    /* or NULL */
    int64_t min, max;    /* SET_INT, SET_SIZE (bytes), SET_DURATION (milliseconds) */
    const char *choices; /* SET_CHOICE: "a|b|c" */
    const char *(*check)(sl_str item); /* of a text or of each item of a list: NULL, or what it must be */
    bool secret; /* hidden when printed; NAME_FILE in the environment names a file that holds it */
    const char *doc;
};
extern const struct setting settings[];
extern const size_t n_settings;
enum { SETTINGS_ROOM = CONFIG_DIFF_MAX, CONFIG_PRINT = 16, CONFIG_FILE_MAX = 1 << 20, SECRET_FILE_MAX = 64 << 10 };

/* Command-line flags that are not settings. */
struct command {
    const char *flag;
    size_t at;
    const char *doc;
};
extern const struct command commands[];
extern const size_t n_commands;

enum source { FROM_DEFAULT, FROM_FILE, FROM_ENV, FROM_FLAG }; /* a later one wins */
struct origin {
    enum source source;
    int line;
    const char *name;
};

struct loaded {
    struct config pub;                                               /* first: what callers see */
    sl_str host, db_host, db_user, db_password, db_name, db_sslmode; /* parts that listen and dsn are made of */
    int64_t port, db_port;
    struct origin origin[SETTINGS_ROOM];
    unsigned char print[SETTINGS_ROOM][CONFIG_PRINT]; /* fingerprints of the values, also of secrets wiped since */
};
struct load {
    struct loaded *cfg;
    buf *errors;
    size_t failed, nodes;
    char **env;
};

void config_wipe_value(const struct loaded *c, const struct setting *s); /* load.c: a secret's text, in place */

/* ---- value.c ---- */
__attribute__((format(printf, 4, 5))) void config_complain(struct load *l, struct origin o, const char *path,
                                                           const char *format, ...);
/* Convert and store a setting; `split`: a list's items stand in one text with commas between. Complains itself. */
bool config_set(struct load *l, const struct setting *s, struct origin o, const sl_str *texts, size_t n, bool split);
size_t config_index(const char *path); /* into settings; the path must exist */
void config_show_int(const struct setting *s, int64_t v, buf *out);
bool config_bool(sl_str text, bool *v);
const char *config_env_name(const struct setting *s, char *room, size_t size); /* the name derived from the path */
/* The value of an environment variable, absent when unset or empty. With `secret` NAME_FILE is looked at too; its
 * content lands in the arena. `used` is the name that was found. False: complained. */
bool config_env(struct load *l, const char *name, bool secret, const char *path, sl_str *value, const char **used);
void config_wipe(sl_str s);

/* ---- file.c ---- */
void config_read_file(struct load *l, const char *name);
/* The entries of a YAML mapping, in the arena; complains about keys that are no text or stand twice. */
struct yaml_entry {
    sl_str key;
    int value, line;
};
size_t config_entries(struct load *l, yaml_document_t *doc, yaml_node_t *node, const char *path,
                      struct yaml_entry **out);
bool config_is_null(const yaml_node_t *node);
sl_str config_scalar(const yaml_node_t *node); /* absent unless a scalar */
struct origin config_at(const struct load *l, int line);
/* A node as JSON, plain scalars by the rules of JSON. NULL: complained with path. The caller owns it. */
json_t *config_yaml_json(struct load *l, yaml_document_t *doc, int node, const char *path, int depth);

/* ---- findings.c ---- */
const char *config_check_finding(sl_str rule); /* NULL, or what "CLASS=POLICY" must be */

/* ---- change.c ---- */
bool config_applies_live(const struct setting *s); /* a reload of the configuration applies it */
void config_print_values(struct loaded *c);        /* once all is loaded and derived */

/* ---- plugins.c ---- */
void config_read_plugins(struct load *l, yaml_document_t *doc, yaml_node_t *node);
const struct plugin_config *config_plugin(const struct config *cfg, const char *name);
void config_free_plugins(struct config *cfg);
#endif
