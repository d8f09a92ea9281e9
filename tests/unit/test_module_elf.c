/* test_module_elf.c - reading ELF files of every kind: real libraries, programs, other machines, cut and damaged bytes.
 */
#include "unit.h"
#include "module/private.h"
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>

static unsigned char *bytes;
static size_t size;
static struct elf_finding found[ELF_FINDINGS];

static void load(const char *path)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    bytes = malloc(8 << 20);
    size = fread(bytes, 1, 8 << 20, f);
    fclose(f);
    assert_true(size > 1000);
}

static bool says(size_t n, const char *what, bool fatal)
{
    for (size_t i = 0; i < n; i++)
        if (strstr(found[i].text, what) && (strcmp(found[i].class, "file") == 0) == fatal) return true;
    return false;
}

static int setup(void **state) /* a library that is there wherever this test is */
{
    (void)state;
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[4096], path[4096] = "";
    while (fgets(line, sizeof line, maps))
        if (strstr(line, "/libcmocka.so")) sscanf(strchr(line, '/'), "%4095s", path);
    fclose(maps);
    load(path);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(bytes);
    return 0;
}

static void library_without_descriptor_is_refused(void **state)
{
    (void)state;
    size_t n = elf_check(bytes, size, found);
    assert_true(says(n, "exports no sl_plugin_v1", true));
    assert_true(says(n, "imports signal", false));
    assert_true(says(n, " more besides sl_plugin_v1", false)); /* a library full of exports makes one finding */
    assert_true(n <= 5);
}

static void program_is_refused(void **state)
{
    (void)state;
    free(bytes);
    load("/proc/self/exe");
    assert_true(says(elf_check(bytes, size, found), "is a program", true));
}

static void other_machines_and_other_files_are_refused(void **state)
{
    (void)state;
    unsigned char before = bytes[18];
    bytes[18] = 0xf3, bytes[19] = 0x7f;
    assert_true(says(elf_check(bytes, size, found), "another machine", true));
    bytes[18] = before, bytes[19] = 0;
    bytes[EI_CLASS] = 9;
    assert_true(says(elf_check(bytes, size, found), "another machine", true));
    bytes[0] = 'x';
    assert_true(says(elf_check(bytes, size, found), "not an ELF file", true));
    assert_true(says(elf_check("", 0, found), "not an ELF file", true));
    assert_true(says(elf_check("#!/bin/sh\n", 10, found), "not an ELF file", true));
}

static void cut_file_is_refused_at_every_length(void **state)
{
    (void)state;
    for (size_t n = 0; n < size; n += n < 2000 ? 1 : 997) {
        unsigned char *exact = malloc(n ? n : 1); /* so that a read behind the end is seen */
        memcpy(exact, bytes, n);
        size_t findings = elf_check(exact, n, found);
        assert_true(findings > 0 && says(findings, "", true));
        free(exact);
    }
}

static void damaged_file_never_reads_outside(void **state)
{
    (void)state;
    uint64_t random = 88172645463325252u;
    unsigned char *copy = malloc(size);
    for (int round = 0; round < 3000; round++) {
        memcpy(copy, bytes, size);
        for (int i = 0; i < 8; i++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            size_t at = (random >> 8) % (round % 2 ? 4096 : size); /* mostly the headers */
            copy[at] = (unsigned char)random;
        }
        elf_check(copy, size, found);
    }
    free(copy);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = { T(library_without_descriptor_is_refused), T(program_is_refused),
                                        T(other_machines_and_other_files_are_refused),
                                        T(cut_file_is_refused_at_every_length), T(damaged_file_never_reads_outside) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
