/* slctl.h - what the files of slctl, the command line client, share. */
#ifndef SLCTL_H
#define SLCTL_H
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct builtin;

/* How slctl ends; `slctl help exit-codes` prints them. */
enum {
    DONE = 0,
    REFUSED = 1,     /* the server said no: a 4xx that has no code of its own */
    USAGE = 2,       /* the command line, a file or the configuration is wrong; nothing was sent */
    NOT_FOUND = 3,   /* 404 */
    CONFLICT = 4,    /* 409, 412 */
    BROKEN = 5,      /* 5xx, or an answer that makes no sense */
    UNREACHABLE = 6, /* no connection, or it broke */
    TIMED_OUT = 7,   /* --timeout passed without an answer */
    DENIED = 8,      /* 401, 403 */
    BAD_PROOF = 9,   /* audit verify: the chain does not hold */
    LOCAL = 10       /* a file or the output could not be written */
};

enum {
    MAX_ANSWER = 64 << 20,  /* bytes of an answer */
    MAX_DOCUMENT = 8 << 20, /* bytes of an OpenAPI document */
    MAX_FILE = 32 << 20,    /* bytes of a file that is read whole */
    MAX_COMMANDS = 4096,
    MAX_WORDS = 12, /* words of a command */
    MAX_DEPTH = 32  /* nesting of schemas, YAML and what is printed */
};

/* ---- text.c: memory and text. What keep* return lives until keep_release of an earlier mark, or the end. ---- */
void *keep(size_t n); /* zeroed */
char *keep_copy(const char *p, size_t n);
char *keep_text(const char *format, ...) __attribute__((format(printf, 1, 2)));
json_t *keep_json(json_t *owned); /* takes the reference over; NULL stays NULL */
size_t keep_mark(void);
void keep_release(size_t mark);

struct text { /* grows; `p` is terminated once anything was added; freed by keep_release */
    char *p;
    size_t n, room, slot;
};
void text_add(struct text *t, const char *p, size_t n);
void text_add_cstr(struct text *t, const char *s);
void text_printf(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *text_cstr(const struct text *t); /* "" when nothing was added */

/* `s` as it may be shown on a terminal: control characters and bytes that are not UTF-8 are made visible. */
const char *visible(const char *s);
size_t width(const char *s);             /* columns that visible text takes */
const char *flag_name(const char *name); /* of a field, as people write flags: with dashes */
_Noreturn void fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
void warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A whole file, "-" is standard input; fails with USAGE. *n may be NULL. */
char *read_file(const char *path, size_t *n);
/* Writes a file with mode 0600 beside and renames it, in directories of mode 0700 that are made as needed; false leaves
 * errno. */
bool write_private(const char *path, const char *p, size_t n);
/* "15s", "1m30s", "250ms", or seconds; -1 when it is none or above a day. */
long parse_ms(const char *s);
bool starts(const char *s, const char *with);

/* ---- options.c: flags that every command takes ---- */
enum format { FORMAT_AUTO, FORMAT_JSON, FORMAT_YAML, FORMAT_TABLE, FORMAT_WIDE };
struct options {
    const char *addr, *token, *refresh_token, *tenant, *account, *ca_file; /* NULL: not set */
    const char *context, *file, *idempotency_key, *if_match;
    enum format format;
    long timeout_ms, watch_ms; /* watch_ms 0: once */
    bool all, verbose, no_headers, refresh, help, token_given, timeout_given;
    bool from_context; /* the tokens are the context's */
};
extern struct options options;
struct flag {
    const char *name; /* without dashes */
    char letter;      /* 0: none */
    bool value;       /* takes one */
    const char *doc;
};
extern const struct flag global_flags[]; /* ends with a NULL name */
/* Takes the global flag at argv[*i] and its value; false: it is none. */
bool global_flag(int argc, char **argv, int *i);
/* Flags that say whom to talk to; they are never a field of a command. */
bool connection_flag(const char *name);
void connection_flags(int argc, char **argv); /* takes them (and -v, --refresh) wherever they stand */
void options_finish(void);                    /* fills in what is not given: environment, then the context */

/* ---- yaml.c ---- */
json_t *yaml_read(const char *text, size_t n, const char *name); /* kept; fails with USAGE naming the line */
void yaml_write(struct text *out, const json_t *v);
json_t *json_read(const char *text, size_t n, char *why, size_t why_size); /* kept; NULL: why */

/* ---- contexts.c: ~/.config/slctl/config.yaml ---- */
json_t *contexts_read(void);   /* as the file is now; kept */
int contexts_lock(void);       /* held by one slctl at a time, until it is closed; -1: not possible */
json_t *contexts_load(void);   /* kept; {} when there is no file */
json_t *contexts_change(void); /* contexts_read under the lock, which is held from now on: a command's last step */
void contexts_save(json_t *config);
const json_t *context_find(json_t *config, const char *name); /* NULL name: the current one; NULL: none */
int context_command(int argc, char **argv);

/* ---- http.c ---- */
struct call {
    const char *method, *path; /* the path with its query, starting with a slash */
    const char *body;          /* NULL: none */
    size_t body_size;
    const char *accept, *if_none_match;
    json_t *headers; /* more headers, name to text; may be NULL */
    bool anonymous;  /* send no token */
    bool stream;     /* the answer is no JSON: it goes to standard output as it comes, unless that is a terminal */
};
struct answer {
    int failed; /* 0, or UNREACHABLE, TIMED_OUT, BROKEN when there is no answer; `why` says more */
    const char *why;
    int status;
    const char *type, *etag;
    long retry_ms; /* from Retry-After; -1: absent */
    char *body;    /* terminated */
    size_t size;
    bool streamed; /* the body went to standard output */
    json_t *json;  /* the body when it is JSON, else NULL */
};
/* Asks, repeating what may be repeated until options.timeout_ms has passed. What it returns is kept. */
struct answer http_call(const struct call *c);
/* Says why the call failed, in the problem's words; returns the exit code. */
int complain(const struct answer *a);
int64_t now_ms(void); /* monotonic */
void sleep_ms(long ms);
const char *url_escape(const char *s);
/* Follows an event stream, giving each event to `each` until it returns false; resumes by Last-Event-ID. */
typedef bool event_handler(void *arg, const char *id, const char *name, const char *data);
int http_stream(const char *path, const char *last_id, event_handler *each, void *arg);
void http_end(void);

/* ---- document.c: the server's OpenAPI document and the commands in it ---- */
struct command {
    const char *id; /* operationId: the words with dots between them */
    char *words[MAX_WORDS];
    int n_words;
    const char *method, *path, *summary, *module;
    json_t *operation, *path_item;
};
struct document {
    json_t *root;
    struct command *commands; /* sorted by id */
    size_t n;
    bool fresh; /* the server said just now that it is current */
};
/* Reads a document out of outside bytes; kept. NULL: why. */
struct document *document_parse(const char *text, size_t n, char *why, size_t why_size);
enum document_from { FROM_CACHE_ONLY, FROM_CACHE, FROM_SERVER };
/* The document of options.addr; NULL with FROM_CACHE_ONLY when there is none; else fails. */
struct document *document_get(enum document_from from);
struct document *document_look(void); /* the same from cache or server; NULL, in silence, when there is none */
json_t *resolve(const struct document *d, json_t *node); /* follows $ref; borrowed, NULL when it leads nowhere */
const struct command *command_find(const struct document *d, char **words, int n); /* all n words */
const struct command *command_by_id(const struct document *d, const char *id);
/* How many commands start with these words; *first is one of them. */
size_t commands_under(const struct document *d, char **words, int n, const struct command **first);
bool word_is(const char *typed, const char *word); /* '-' and '_' are alike */

/* ---- fields.c: what a command takes and gives ---- */
enum where { IN_PATH, IN_QUERY, IN_HEADER, IN_BODY };
struct field {
    const char *name;
    enum where where;
    json_t *schema; /* resolved */
    bool required;
    const char *doc;
};
struct fields {
    struct field *list;
    size_t n;
    bool has_body, body_is_object;
    json_t *body; /* its schema, or NULL */
};
struct fields *fields_of(const struct document *d, const struct command *c);
json_t *answer_schema(const struct document *d, const struct command *c); /* of its success; resolved, or NULL */
bool answer_is_json(const struct document *d, const struct command *c);
bool is_json(const char *type); /* a media type */
json_t *items_schema(const struct document *d, json_t *schema,
                     const char **list_name); /* of a list's elements, or NULL */
bool has_type(const json_t *schema, const char *type);
bool is_switch(const json_t *schema); /* true or false and nothing else: its flag needs no value */
const char *type_words(const struct document *d, json_t *schema);               /* "integer 1..100", "one of a, b" */
const char *field_flag_name(const struct fields *f, const struct field *field); /* without dashes in front */
const struct field *field_find(const struct fields *f, const char *flag);       /* by the name of its flag */

/* ---- value.c: text of the command line into JSON by a schema ---- */
/* Puts `text` at the dotted `path` of the body, making objects and arrays on its way. */
void value_set(const struct document *d, json_t *schema, json_t *body, const char *path, const char *text);
const char *value_text(const json_t *v, const char *flag); /* a scalar as it goes into a path or query */

/* ---- output.c, table.c ---- */
enum format output_format(void);        /* what is chosen, or what fits the output */
const char *json_text(const json_t *v); /* on one line */
void print_json(const json_t *v, bool compact);
void print_value(const json_t *v, json_t *schema, const struct document *d); /* in the chosen format */
void print_answer(const struct answer *a, json_t *schema, const struct document *d);
struct column {
    const char *name;
    size_t width; /* at least */
};
enum { MAX_COLUMNS = 64 };
size_t columns_choose(const struct document *d, const json_t *items, json_t *schema, bool wide, struct column *out);
void table_print(const json_t *items, struct column *columns, size_t n, bool wide, bool heads);
void table_fields(const json_t *object, bool wide); /* one thing: a line a field */
const char *cell_text(const json_t *v, bool wide);
bool colours(void);
void output_flush(void); /* fails with LOCAL when the output could not be written */

/* ---- the commands ---- */
int run_command(const struct document *d, const struct command *c, int argc, char **argv);          /* run.c */
struct call command_call(const struct document *d, const struct command *c, int argc, char **argv); /* args.c */
/* Whether all long flags mean something to the command. */
bool flags_known(const struct document *d, const struct command *c, int argc, char **argv);
json_t *file_body(const char *path); /* JSON or YAML, kept; fails with USAGE */
int watch(const struct document *d, const struct command *c, struct call *call); /* watch.c */
int help_command(const struct document *d, char **words, int n);                 /* help.c */
const char *command_text(const struct command *c);                               /* its words with spaces */
void help_top(void);
void man_page(void);                     /* man.c */
const char *help_text(const char *name); /* of a topic; NULL: there is none */
bool help_topic(const char *name);       /* prints it; false: there is none */
int help_builtin(const struct builtin *b);
void explain_document(const struct document *d, char **words, int n); /* a command, or all that begin so */
int explain_command(int argc, char **argv);                           /* explain.c */
int completion_command(int argc, char **argv);                        /* complete.c */
int complete_command(int argc, char **argv);
int status_command(int argc, char **argv); /* status.c */
int health_command(int argc, char **argv);
int login_command(int argc, char **argv); /* login.c */
int logout_command(int argc, char **argv);
bool login_refresh(void);                /* a new access token by the refresh token; false: not possible */
int diag_command(int argc, char **argv); /* diag.c */
/* redact.c: what they return is kept. */
const char *redact_text(const char *text);
json_t *redact_json(const json_t *v);
void redact_lines(struct text *out, char *text); /* cuts `text` up */
int audit_verify_command(int argc, char **argv); /* audit.c */
int events_tail_command(int argc, char **argv);  /* events.c */

struct builtin {
    const char *words; /* "context use" */
    int (*run)(int argc, char **argv);
    const char *usage, *doc;
};
extern const struct builtin builtins[]; /* main.c; ends with NULL words */
#endif
