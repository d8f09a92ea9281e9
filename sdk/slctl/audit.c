/* audit.c - `audit verify`: checks files of the audit log, or an export of it, without a server. */
#include "slctl.h"
#include "base/chain.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

enum { MAX_FINDINGS = 1000 };

struct report {
    json_t *findings; /* NULL: printed as they come */
};

static void finding(void *arg, const char *file, uint64_t line, const char *sentence)
{
    struct report *r = arg;
    if (!r->findings && line)
        printf("%s:%" PRIu64 ": %s\n", visible(file), line, visible(sentence));
    else if (!r->findings)
        printf("%s: %s\n", visible(file), visible(sentence));
    else if (json_array_size(r->findings) < MAX_FINDINGS)
        json_array_append_new(
            r->findings, json_pack("{s:s, s:I, s:s}", "file", file, "line", (json_int_t)line, "finding", sentence));
}

static FILE *open_file(const char *path)
{
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (!f) fail(USAGE, "%s: %s.", path, strerror(errno));
    return f;
}

/* Whether a record with this hash is in the file. */
static bool holds(const char *path, const char *hash)
{
    char *line = NULL, prev[CHAIN_HASH];
    size_t room = 0;
    bool found = false;
    FILE *f = open_file(path);
    for (ssize_t n; !found && (n = getline(&line, &room, f)) > 0;) {
        struct chain self;
        if (line[n - 1] == '\n') n--;
        if (n < CHAIN_LINE && chain_read(line, (size_t)n, &self, prev)) found = strcmp(self.hash, hash) == 0;
    }
    free(line);
    fclose(f);
    return found;
}

static const char *read_head(const char *value)
{
    if (strlen(value) != CHAIN_HASH - 1 || strspn(value, "0123456789abcdef") != CHAIN_HASH - 1)
        fail(USAGE, "--head %s: must be the hash of a record, 64 hexadecimal digits.", visible(value));
    return value;
}

static void print_result(const struct chain_check *k, struct report *r)
{
    if (r->findings) {
        json_t *result = json_pack("{s:I, s:I, s:I, s:s?, s:b, s:O}", "records", (json_int_t)k->lines, "first",
                                   (json_int_t)k->first, "last", (json_int_t)k->last.seq, "head",
                                   k->lines ? k->last.hash : NULL, "intact", k->wrong == 0, "findings", r->findings);
        print_value(keep_json(result), NULL, NULL);
    } else if (k->lines == 0) {
        printf("no records\n");
    } else {
        printf("%" PRIu64 " records, %" PRIu64 " to %" PRIu64 ", %s; head %s\n", k->lines, k->first, k->last.seq,
               k->wrong ? "NOT intact" : "intact", k->last.hash);
    }
}

int audit_verify_command(int argc, char **argv)
{
    struct report r = { NULL };
    struct chain_check k = { .found = finding, .arg = &r };
    const char *head = NULL, **files = keep((size_t)(argc + 1) * sizeof *files);
    bool kept = false;
    int n = 0;
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--head") == 0 && i + 1 < argc)
            head = read_head(argv[++i]);
        else if (strcmp(argv[i], "-") == 0 || argv[i][0] != '-')
            files[n++] = argv[i];
        else if (!global_flag(argc, argv, &i))
            fail(USAGE, "slctl audit verify: unexpected %s.", visible(argv[i]));
    }
    if (n == 0) fail(USAGE, "slctl audit verify FILE...: no file is named; - is standard input.");
    if (options.format == FORMAT_JSON || options.format == FORMAT_YAML) r.findings = keep_json(json_array());
    for (int i = 0; i < n; i++) {
        FILE *f = open_file(files[i]);
        chain_verify(f, files[i], &k);
        if (ferror(f)) fail(USAGE, "%s: %s.", files[i], strerror(errno));
        if (f != stdin) fclose(f);
        if (head && strcmp(files[i], "-") == 0) kept = kept || (k.lines && strcmp(k.last.hash, head) == 0);
        if (head && strcmp(files[i], "-") != 0) kept = kept || holds(files[i], head);
    }
    if (head && !kept) {
        k.wrong++;
        finding(&r, files[n - 1], 0, "the record that --head names is not there: records were cut off or replaced");
    }
    print_result(&k, &r);
    output_flush();
    return k.wrong ? BAD_PROOF : DONE;
}
