/* symbols.c - what an address in this process is: the file that it was loaded from and the function, for profiles. */
#include "observe/symbols.h"
#include "base/id.h"
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OBJECTS_MAX = 512, SYMBOLS_MAX = 1 << 20, BUILD_ID_MAX = 32 };

struct symbol {
    uintptr_t at;
    uint64_t size;
    const char *name;
};
struct symbol_table {
    const unsigned char *file; /* mapped */
    size_t size, n;
    struct symbol *list; /* by address, as in the file */
};
struct symbols {
    const struct symbol_file *files;
    size_t n_files, n;
    struct object objects[OBJECTS_MAX];
};

/* ---- what is loaded ---- */
/* Notes are a sequence of { name size, description size, type, name, description }, padded to four bytes. */
static void read_notes(char build_id[65], const unsigned char *p, size_t n)
{
    while (n >= sizeof(ElfW(Nhdr))) {
        ElfW(Nhdr) h;
        memcpy(&h, p, sizeof h);
        uint64_t name = ((uint64_t)h.n_namesz + 3) & ~UINT64_C(3), about = ((uint64_t)h.n_descsz + 3) & ~UINT64_C(3);
        if (sizeof h + name + about > n) return;
        if (h.n_type == NT_GNU_BUILD_ID && h.n_namesz == 4 && memcmp(p + sizeof h, "GNU", 4) == 0 &&
            h.n_descsz <= BUILD_ID_MAX) {
            hex_encode(p + sizeof h + name, h.n_descsz, build_id);
            return;
        }
        p += sizeof h + name + about;
        n -= sizeof h + name + about;
    }
}

static int add_object(struct dl_phdr_info *info, size_t size, void *arg)
{
    symbols *s = arg;
    (void)size;
    if (s->n == OBJECTS_MAX) return 1;
    struct object *o = &s->objects[s->n];
    *o = (struct object){ .base = info->dlpi_addr };
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type == PT_LOAD && (p->p_flags & PF_X) && !o->end) {
            o->start = info->dlpi_addr + p->p_vaddr;
            o->end = o->start + p->p_memsz;
            o->offset = p->p_offset;
        }
        if (p->p_type == PT_NOTE && !o->build_id[0])
            read_notes(o->build_id, (const unsigned char *)(info->dlpi_addr + p->p_vaddr), p->p_memsz);
    }
    if (!o->end) return 0;
    bool own = !info->dlpi_name[0]; /* the executable itself */
    ssize_t n = own ? readlink("/proc/self/exe", o->path, sizeof o->path - 1) : -1;
    if (own)
        o->path[n > 0 ? n : 0] = 0;
    else
        snprintf(o->path, sizeof o->path, "%s", info->dlpi_name);
    s->n++;
    return 0;
}

symbols *symbols_load(const struct symbol_file *files, size_t n)
{
    symbols *s = calloc(1, sizeof *s);
    if (!s) abort();
    s->files = files;
    s->n_files = n;
    dl_iterate_phdr(add_object, s);
    return s;
}

void symbols_free(symbols *s)
{
    for (size_t i = 0; i < s->n; i++) {
        struct symbol_table *t = s->objects[i].symbols;
        if (!t) continue;
        munmap((void *)(uintptr_t)t->file, t->size);
        free(t->list);
        free(t);
    }
    free(s);
}

size_t symbols_count(const symbols *s) { return s->n; }
const struct object *symbols_object(const symbols *s, size_t i) { return &s->objects[i]; }

size_t symbols_find(const symbols *s, uintptr_t address)
{
    size_t i = 0;
    while (i < s->n && (address < s->objects[i].start || address >= s->objects[i].end))
        i++;
    return i;
}

/* ---- a file's own table of symbols; every place in it is checked against its size ---- */
static bool inside(const struct symbol_table *t, uint64_t at, uint64_t n) { return at <= t->size && n <= t->size - at; }

static bool map_file(struct symbol_table *t, const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    bool good = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (size_t)st.st_size >= sizeof(ElfW(Ehdr));
    void *p = good ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    close(fd);
    if (p == MAP_FAILED) return false;
    t->file = p;
    t->size = (size_t)st.st_size;
    return true;
}

static const ElfW(Shdr) * section(const struct symbol_table *t, const ElfW(Ehdr) * h, size_t i)
{
    return i < h->e_shnum ? (const ElfW(Shdr) *)(const void *)(t->file + h->e_shoff) + i : NULL;
}

static int by_address(const void *a, const void *b)
{
    const struct symbol *x = a, *y = b;
    return x->at < y->at ? -1 : x->at > y->at;
}

static void take_symbols(struct symbol_table *t, const ElfW(Shdr) * table, const ElfW(Shdr) * names)
{
    if (!inside(t, table->sh_offset, table->sh_size) || !inside(t, names->sh_offset, names->sh_size) ||
        !names->sh_size || table->sh_offset % _Alignof(ElfW(Sym)))
        return;
    size_t n = table->sh_size / sizeof(ElfW(Sym));
    const ElfW(Sym) *from = (const void *)(t->file + table->sh_offset);
    const char *text = (const char *)t->file + names->sh_offset;
    if (n > SYMBOLS_MAX || text[names->sh_size - 1] != 0) return;
    t->list = malloc((n + 1) * sizeof *t->list);
    if (!t->list) abort();
    for (size_t i = 0; i < n; i++)
        if (ELF64_ST_TYPE(from[i].st_info) == STT_FUNC && from[i].st_value && from[i].st_name < names->sh_size)
            t->list[t->n++] = (struct symbol){ from[i].st_value, from[i].st_size, text + from[i].st_name };
    qsort(t->list, t->n, sizeof *t->list, by_address);
}

/* The full table where the file was not stripped, else the one for the dynamic linker. */
static void read_symbols(struct symbol_table *t)
{
    ElfW(Ehdr) h;
    memcpy(&h, t->file, sizeof h);
    if (memcmp(h.e_ident, ELFMAG, SELFMAG) != 0 ||
        h.e_ident[EI_CLASS] != (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32) || h.e_shentsize != sizeof(ElfW(Shdr)) ||
        h.e_shoff % _Alignof(ElfW(Shdr)) || !inside(t, h.e_shoff, (uint64_t)h.e_shnum * sizeof(ElfW(Shdr))))
        return;
    for (uint32_t wanted = SHT_SYMTAB;; wanted = SHT_DYNSYM) {
        for (size_t i = 0; i < h.e_shnum && !t->n; i++) {
            const ElfW(Shdr) *one = section(t, &h, i), *names = section(t, &h, one->sh_link);
            if (one->sh_type == wanted && names && !t->list) take_symbols(t, one, names);
        }
        if (t->n || wanted == SHT_DYNSYM) return;
        free(t->list);
        t->list = NULL;
    }
}

static bool same_build(const struct symbol_table *t, const struct object *o)
{
    ElfW(Ehdr) h;
    char id[65] = "";
    memcpy(&h, t->file, sizeof h);
    if (memcmp(h.e_ident, ELFMAG, SELFMAG) != 0 || h.e_phentsize != sizeof(ElfW(Phdr)) ||
        !inside(t, h.e_phoff, (uint64_t)h.e_phnum * sizeof(ElfW(Phdr))))
        return false;
    for (size_t i = 0; i < h.e_phnum && !id[0]; i++) {
        ElfW(Phdr) p;
        memcpy(&p, t->file + h.e_phoff + i * sizeof p, sizeof p);
        if (p.p_type == PT_NOTE && inside(t, p.p_offset, p.p_filesz)) read_notes(id, t->file + p.p_offset, p.p_filesz);
    }
    return strcmp(id, o->build_id) == 0;
}

static void look(const symbols *s, struct object *o)
{
    const char *path = o == s->objects ? "/proc/self/exe" : o->path; /* the executable comes first */
    for (size_t i = 0; i < s->n_files; i++)
        if (strcmp(o->path, s->files[i].loaded) == 0) path = s->files[i].file;
    o->looked = true;
    struct symbol_table *t = calloc(1, sizeof *t);
    if (!t) abort();
    if (map_file(t, path) && same_build(t, o)) {
        read_symbols(t);
        o->symbols = t;
        return;
    }
    if (t->file) munmap((void *)(uintptr_t)t->file, t->size);
    free(t);
}

const char *symbols_name(symbols *s, uintptr_t address, uintptr_t *start)
{
    size_t i = symbols_find(s, address);
    struct object *o = &s->objects[i];
    if (i == s->n) return NULL;
    if (!o->looked) look(s, o);
    const struct symbol_table *t = o->symbols;
    if (!t || !t->n) return NULL;
    uintptr_t at = address - o->base;
    size_t low = 0, high = t->n; /* the last symbol that begins at or before it */
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (t->list[middle].at <= at)
            low = middle + 1;
        else
            high = middle;
    }
    if (!low) return NULL;
    const struct symbol *found = &t->list[low - 1];
    if (found->size && at - found->at >= found->size) return NULL;
    *start = found->at + o->base;
    return found->name;
}
