/* status.c - status: a server on one screen; health: the same in one word. */
#include "slctl.h"
#include <stdio.h>
#include <string.h>

static void no_words(int argc, char **argv, const char *command)
{
    for (int i = 0; i < argc; i++)
        if (!global_flag(argc, argv, &i)) fail(USAGE, "slctl %s: unexpected %s.", command, visible(argv[i]));
    options_finish();
}

static struct answer get(const char *path)
{
    struct call call = { .method = "GET", .path = path };
    return http_call(&call);
}

/* What is not well, by name; a check that is well is only counted. */
static void print_checks(const json_t *health)
{
    size_t i, well = 0;
    json_t *check, *checks = json_object_get(health, "checks");
    json_array_foreach (checks, i, check) {
        bool ready = json_is_true(json_object_get(check, "ready"));
        const char *name = json_string_value(json_object_get(check, "name"));
        well += ready;
        if (!ready) printf("not ready   %s\n", visible(name ? name : "?"));
    }
    if (json_array_size(checks)) printf("checks      %zu of %zu ready\n", well, json_array_size(checks));
}

static void print_modules(const json_t *status)
{
    struct column columns[] = { { "name", 0 },       { "version", 0 }, { "status", 0 }, { "ready", 0 },
                                { "generation", 0 }, { "calls", 0 },   { "errors", 0 }, { "error", 0 } };
    json_t *modules = json_object_get(status, "modules");
    if (json_array_size(modules)) {
        printf("\n");
        table_print(modules, columns, 8, output_format() == FORMAT_WIDE, !options.no_headers);
    }
}

static const char *text_at(const json_t *object, const char *name)
{
    const json_t *v = json_object_get(object, name);
    return v ? cell_text(v, true) : "-";
}

static void print_screen(const json_t *all)
{
    const json_t *version = json_object_get(all, "version"), *health = json_object_get(all, "health");
    const json_t *status = json_object_get(all, "status");
    printf("address     %s\n", options.addr);
    printf("health      %s\n", text_at(health, "status"));
    if (json_object_get(health, "failing")) printf("failing     %s\n", text_at(health, "failing"));
    printf("version     %s (contract %s)\n", text_at(version, "version"), text_at(version, "contract"));
    if (json_is_object(status)) {
        const char *durable = json_is_true(json_object_get(status, "durable")) ? "durable" : "lost at exit";
        printf("store       %s, %s\n", text_at(status, "store"), durable);
        printf("up since    %s\n", text_at(status, "started_at"));
        printf("calls       %s\n", text_at(status, "calls"));
    }
    print_checks(health);
    print_modules(status);
}

/* Version and health need no token; without one that is all there is to see. */
int status_command(int argc, char **argv)
{
    no_words(argc, argv, "status");
    struct answer health = get("/healthz?verbose=1");
    if (health.failed || (!json_is_object(health.json) && health.status >= 400)) return complain(&health);
    struct answer version = get("/system/version"), status = get("/system/status");
    json_t *all = keep_json(json_pack("{s:s, s:O?, s:O?, s:O?}", "addr", options.addr, "version", version.json,
                                      "health", health.json, "status", status.status == 200 ? status.json : NULL));
    if (output_format() == FORMAT_TABLE || output_format() == FORMAT_WIDE)
        print_screen(all);
    else
        print_value(all, NULL, NULL);
    output_flush();
    if (status.failed || status.status != 200) return complain(&status);
    return health.status == 200 ? DONE : BROKEN;
}

int health_command(int argc, char **argv)
{
    no_words(argc, argv, "health");
    struct answer health = get("/healthz?verbose=1");
    if (health.failed || !json_is_object(health.json)) return complain(&health);
    if (output_format() == FORMAT_TABLE || output_format() == FORMAT_WIDE) {
        printf("%s\n", text_at(health.json, "status"));
        if (json_object_get(health.json, "failing")) printf("failing     %s\n", text_at(health.json, "failing"));
    } else {
        print_value(health.json, NULL, NULL);
    }
    output_flush();
    return health.status == 200 ? DONE : BROKEN;
}
