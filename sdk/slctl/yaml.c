/* yaml.c - JSON and YAML texts in, YAML out, by Jansson and libyaml, with limits on depth and size. */
#include "slctl.h"
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

json_t *json_read(const char *text, size_t n, char *why, size_t why_size)
{
    json_error_t error;
    json_t *v = json_loadb(text, n, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
    if (!v) snprintf(why, why_size, "%s at line %d, column %d", error.text, error.line, error.column);
    return keep_json(v);
}

struct yaml_in {
    yaml_parser_t parser;
    const char *name;
    size_t nodes;
};

_Noreturn static void bad_yaml(struct yaml_in *in, const char *why)
{
    const yaml_mark_t *at = in->parser.problem ? &in->parser.problem_mark : &in->parser.mark;
    if (in->parser.problem) why = in->parser.problem;
    fail(USAGE, "%s:%zu: %s.", in->name, at->line + 1, visible(why));
}

/* A plain scalar as YAML 1.2's core schema reads it; anything quoted is text. */
static json_t *plain_scalar(const char *s)
{
    static const char *const nulls[] = { "", "~", "null", "Null", "NULL" };
    static const char *const truths[] = { "true", "True", "TRUE" }, *const lies[] = { "false", "False", "FALSE" };
    char *end;
    for (size_t i = 0; i < 5; i++)
        if (strcmp(s, nulls[i]) == 0) return json_null();
    for (size_t i = 0; i < 3; i++) {
        if (strcmp(s, truths[i]) == 0) return json_true();
        if (strcmp(s, lies[i]) == 0) return json_false();
    }
    const char *digits = s + (*s == '-' || *s == '+');
    if (*digits < '0' || *digits > '9' || strlen(s) > 64) return json_string(s);
    if (strspn(digits, "0123456789") == strlen(digits) && strlen(digits) <= 18)
        return json_integer(strtoll(s, &end, 10));
    if (strspn(digits, "0123456789.eE+-") != strlen(digits)) return json_string(s);
    double d = strtod(s, &end);
    json_t *number = *end ? NULL : json_real(d);
    return number ? number : json_string(s);
}

static json_t *yaml_node(struct yaml_in *in, yaml_event_t *event, int depth);

static void next_event(struct yaml_in *in, yaml_event_t *event)
{
    if (!yaml_parser_parse(&in->parser, event)) bad_yaml(in, "cannot be read");
    if (++in->nodes > 200000) bad_yaml(in, "too many values");
}

static json_t *yaml_list(struct yaml_in *in, int depth)
{
    json_t *list = json_array();
    for (;;) {
        yaml_event_t event;
        next_event(in, &event);
        if (event.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&event);
            return list;
        }
        json_array_append_new(list, yaml_node(in, &event, depth + 1));
    }
}

static json_t *yaml_map(struct yaml_in *in, int depth)
{
    json_t *object = json_object();
    for (;;) {
        yaml_event_t event;
        next_event(in, &event);
        if (event.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&event);
            return object;
        }
        if (event.type != YAML_SCALAR_EVENT) bad_yaml(in, "a name must be text");
        char *name = keep_copy((const char *)event.data.scalar.value, event.data.scalar.length);
        yaml_event_delete(&event);
        if (json_object_get(object, name)) bad_yaml(in, keep_text("\"%s\" is there twice", name));
        next_event(in, &event);
        if (json_object_set_new(object, name, yaml_node(in, &event, depth + 1)) != 0) bad_yaml(in, "not UTF-8");
    }
}

static json_t *yaml_node(struct yaml_in *in, yaml_event_t *event, int depth)
{
    json_t *v = NULL;
    if (depth > MAX_DEPTH) bad_yaml(in, "nested too deep");
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
            v = plain_scalar((const char *)event->data.scalar.value);
        else
            v = json_stringn((const char *)event->data.scalar.value, event->data.scalar.length);
        if (!v) bad_yaml(in, "not UTF-8");
        break;
    case YAML_SEQUENCE_START_EVENT:
        v = yaml_list(in, depth);
        break;
    case YAML_MAPPING_START_EVENT:
        v = yaml_map(in, depth);
        break;
    case YAML_ALIAS_EVENT:
        bad_yaml(in, "references (*name) are not read");
        break;
    default:
        bad_yaml(in, "a value is missing");
        break;
    }
    yaml_event_delete(event);
    return v;
}

json_t *yaml_read(const char *text, size_t n, const char *name)
{
    struct yaml_in in = { .name = name };
    yaml_event_t event;
    json_t *v = NULL;
    if (!yaml_parser_initialize(&in.parser)) abort();
    yaml_parser_set_input_string(&in.parser, (const unsigned char *)text, n);
    for (;;) {
        next_event(&in, &event);
        if (event.type == YAML_STREAM_END_EVENT) break;
        if (event.type == YAML_STREAM_START_EVENT || event.type == YAML_DOCUMENT_START_EVENT ||
            event.type == YAML_DOCUMENT_END_EVENT) {
            yaml_event_delete(&event);
            continue;
        }
        if (v) bad_yaml(&in, "holds more than one document");
        v = keep_json(yaml_node(&in, &event, 0));
    }
    yaml_event_delete(&event);
    yaml_parser_delete(&in.parser);
    return v ? v : keep_json(json_object());
}

/* ---- writing ---- */
static int append(void *out, unsigned char *p, size_t n)
{
    text_add(out, (const char *)p, n);
    return 1;
}

/* Text that some YAML reader would take for another type is quoted. */
static bool plain_is_text(const char *s)
{
    static const char *const words[] = { "",    "~", "null", "true", "false", "yes", "no", "on",
                                         "off", "y", "n",    ".inf", ".nan",  "<<",  "=" };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcasecmp(s, words[i]) == 0) return false;
    return !(*s >= '0' && *s <= '9') && *s != '-' && *s != '+' && *s != '.';
}

static void emit(yaml_emitter_t *e, yaml_event_t *event)
{
    if (!yaml_emitter_emit(e, event)) fail(LOCAL, "YAML: %s.", e->problem ? e->problem : "cannot be written");
}

static void emit_scalar(yaml_emitter_t *e, const char *s, size_t n, bool plain)
{
    yaml_event_t event;
    yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)s, (int)n, plain, 1,
                                 plain                ? YAML_PLAIN_SCALAR_STYLE
                                 : memchr(s, '\n', n) ? YAML_LITERAL_SCALAR_STYLE
                                                      : YAML_DOUBLE_QUOTED_SCALAR_STYLE);
    emit(e, &event);
}

static void emit_value(yaml_emitter_t *e, const json_t *v, int depth)
{
    yaml_event_t event;
    const char *name;
    json_t *each;
    size_t i;
    if (depth > 2 * MAX_DEPTH) fail(BROKEN, "The answer is nested too deep to be shown.");
    if (json_is_object(v)) {
        yaml_mapping_start_event_initialize(&event, NULL, NULL, 1,
                                            json_object_size(v) ? YAML_BLOCK_MAPPING_STYLE : YAML_FLOW_MAPPING_STYLE);
        emit(e, &event);
        json_object_foreach ((json_t *)v, name, each) {
            emit_scalar(e, name, strlen(name), plain_is_text(name));
            emit_value(e, each, depth + 1);
        }
        yaml_mapping_end_event_initialize(&event);
        emit(e, &event);
    } else if (json_is_array(v)) {
        yaml_sequence_start_event_initialize(&event, NULL, NULL, 1,
                                             json_array_size(v) ? YAML_BLOCK_SEQUENCE_STYLE : YAML_FLOW_SEQUENCE_STYLE);
        emit(e, &event);
        json_array_foreach (v, i, each)
            emit_value(e, each, depth + 1);
        yaml_sequence_end_event_initialize(&event);
        emit(e, &event);
    } else if (json_is_string(v)) {
        emit_scalar(e, json_string_value(v), json_string_length(v), plain_is_text(json_string_value(v)));
    } else {
        char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
        if (!text) abort();
        emit_scalar(e, text, strlen(text), true);
        free(text);
    }
}

void yaml_write(struct text *out, const json_t *v)
{
    yaml_emitter_t e;
    yaml_event_t event;
    if (!yaml_emitter_initialize(&e)) abort();
    yaml_emitter_set_output(&e, append, out);
    yaml_emitter_set_unicode(&e, 1);
    yaml_emitter_set_width(&e, -1);
    yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING);
    emit(&e, &event);
    yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1);
    emit(&e, &event);
    emit_value(&e, v, 0);
    yaml_document_end_event_initialize(&event, 1);
    emit(&e, &event);
    yaml_stream_end_event_initialize(&event);
    emit(&e, &event);
    yaml_emitter_delete(&e);
}
