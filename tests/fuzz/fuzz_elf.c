/* fuzz_elf.c - the reader of plugin files: a small library that is right, with bytes of it changed and its end cut off.
 */
#include "fuzz.h"
#include "module/private.h"
#include <elf.h>
#include <string.h>

enum { DYNAMIC = 192, SYMBOLS = 352, HASH = 480, STRINGS = 544, FILE_SIZE = 1024 };

static void library(unsigned char *file, bool gnu_hash)
{
    static const char names[] = "\0sl_plugin_v1\0pthread_create\0loud\0libforeign.so.1";
    Elf64_Ehdr h = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
                     .e_type = ET_DYN,
                     .e_machine = EM_X86_64,
                     .e_phoff = sizeof h,
                     .e_phentsize = sizeof(Elf64_Phdr),
                     .e_phnum = 2 };
#ifdef __aarch64__
    h.e_machine = EM_AARCH64;
#endif
    Elf64_Phdr segments[] = {
        { .p_type = PT_LOAD, .p_filesz = FILE_SIZE, .p_memsz = FILE_SIZE },
        { .p_type = PT_DYNAMIC, .p_offset = DYNAMIC, .p_vaddr = DYNAMIC, .p_filesz = 9 * sizeof(Elf64_Dyn) }
    };
    Elf64_Dyn dynamic[] = { { DT_STRTAB, { STRINGS } },
                            { DT_STRSZ, { sizeof names } },
                            { DT_SYMTAB, { SYMBOLS } },
                            { gnu_hash ? DT_GNU_HASH : DT_HASH, { HASH } },
                            { DT_NEEDED, { 34 } },
                            { DT_FLAGS, { DF_STATIC_TLS } },
                            { DT_FLAGS_1, { DF_1_NODELETE } },
                            { DT_TEXTREL, { 0 } },
                            { DT_NULL, { 0 } } };
    Elf64_Sym symbols[] = { { 0 },
                            { .st_name = 14, .st_info = STB_GLOBAL << 4 },
                            { .st_name = 1, .st_info = STB_GLOBAL << 4, .st_shndx = 1 },
                            { .st_name = 29, .st_info = STB_GNU_UNIQUE << 4, .st_shndx = 1 } };
    uint32_t plain[] = { 1, 4, 2, 0, 0, 3, 0 }; /* buckets, symbols, bucket, chains */
    uint32_t gnu[] = {
        1, 2, 1, 6, 0xffffffff, 0xffffffff, 2, 2, 5
    }; /* buckets, first, bloom, shift, bloom, bucket, chain */
    memcpy(file, &h, sizeof h);
    memcpy(file + sizeof h, segments, sizeof segments);
    memcpy(file + DYNAMIC, dynamic, sizeof dynamic);
    memcpy(file + SYMBOLS, symbols, sizeof symbols);
    memcpy(file + HASH, gnu_hash ? gnu : plain, gnu_hash ? sizeof gnu : sizeof plain);
    memcpy(file + STRINGS, names, sizeof names);
}

static size_t checked(const unsigned char *file, size_t size)
{
    struct elf_finding found[ELF_FINDINGS];
    unsigned char *exact = malloc(size ? size : 1); /* a read behind the end is seen */
    if (!exact) abort();
    memcpy(exact, file, size);
    size_t n = elf_check(exact, size, found);
    if (n > ELF_FINDINGS) abort();
    for (size_t i = 0; i < n; i++)
        if (!found[i].class || !found[i].text[0] || !memchr(found[i].text, 0, sizeof found[i].text)) abort();
    free(exact);
    return n;
}

/* The first byte chooses the hash table, the next two cut the file; then three bytes a change: where and what. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _Alignas(16) unsigned char file[FILE_SIZE] = { 0 };
    if (size < 3) return 0;
    library(file, data[0] & 1);
    if (checked(file, sizeof file) != 7) abort(); /* one of each class that it shows */
    for (size_t i = 3; i + 3 <= size; i += 3)
        file[(data[i] | data[i + 1] << 8) % FILE_SIZE] = data[i + 2];
    size_t cut = (data[1] | (size_t)data[2] << 8) % (FILE_SIZE + 1);
    checked(file, FILE_SIZE - cut);
    checked(data, size);
    return 0;
}
