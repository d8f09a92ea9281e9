/* fuzz_slctl.c - what a hostile server may send the command line client: documents, answers, event streams, logs. */
#include <setjmp.h>
#include <stdint.h>
int slctl_main(int argc, char **argv);
#define main slctl_main
#include "../../sdk/slctl/main.c"
#undef main
#include "../../sdk/slctl/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);
const char *__asan_default_options(void);
_Noreturn void __wrap_exit(int code);
_Noreturn void __real_exit(int code);

static jmp_buf out;
static bool inside;

/* An error ends slctl by exit (linked with --wrap): here it ends the run. What was not kept is lost, not leaked in
 * earnest. */
const char *__asan_default_options(void) { return "detect_leaks=0"; }
void __wrap_exit(int code)
{
    if (inside) longjmp(out, 1);
    __real_exit(code);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    if (!freopen("/dev/null", "w", stdout)) abort();
    setlocale(LC_CTYPE, "C.UTF-8");
    options.addr = "http://127.0.0.1:8080";
    return 0;
}

static void use_document(const char *p, size_t n)
{
    char why[256];
    struct document *d = document_parse(p, n, why, sizeof why);
    for (size_t i = 0; d && i < d->n && i < 8; i++) {
        struct command *c = &d->commands[i];
        const struct fields *f = fields_of(d, c);
        help_command(d, c->words, c->n_words);
        explain_document(d, c->words, c->n_words);
        for (size_t k = 0; k < f->n && k < 8; k++) {
            json_t *body = keep_json(json_object());
            value_set(d, keep_json(json_pack("{s:{s:O?}}", "properties", f->list[k].name, f->list[k].schema)), body,
                      f->list[k].name, "[1]");
        }
        options.format = i % 2 ? FORMAT_WIDE : FORMAT_TABLE;
        print_value(d->root, answer_schema(d, c), d);
    }
}

static void use_answer(char *p, size_t n)
{
    char why[256];
    struct text yaml = { 0 }, lines = { 0 };
    json_t *v = json_read(p, n, why, sizeof why);
    for (int format = FORMAT_JSON; v && format <= FORMAT_WIDE; format++) {
        options.format = (enum format)format;
        print_value(v, NULL, NULL);
    }
    if (v) yaml_write(&yaml, v);
    if (v && !json_equal(v, yaml_read(text_cstr(&yaml), yaml.n, "x")) && json_is_string(v)) abort();
    if (v) redact_json(v);
    redact_lines(&lines, keep_copy(p, n));
    yaml_read(p, n, "input");
}

static bool take_event(void *arg, const char *id, const char *name, const char *data)
{
    return strlen(id) + strlen(name) <= 2 * SSE_ID && strlen(data) < *(size_t *)arg + 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sse s = { .each = take_event, .arg = &size };
    if (size == 0) return 0;
    char *p = keep_copy((const char *)data + 1, size - 1);
    inside = true;
    if (setjmp(out) == 0) {
        if (data[0] % 3 == 0) use_document(p, size - 1);
        if (data[0] % 3 == 1) use_answer(p, size - 1);
        if (data[0] % 3 == 2) {
            sse_reset(&s);
            sse_feed(&s, p, (size - 1) / 2);
            sse_feed(&s, p + (size - 1) / 2, size - 1 - (size - 1) / 2);
        }
    }
    inside = false;
    keep_release(0);
    return 0;
}
