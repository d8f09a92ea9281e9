/* elf.c - reads a plugin's ELF file before anything of it runs: is it loadable here, and will it unload again? */
#include "module/private.h"
#include <elf.h>

#if __SIZEOF_POINTER__ == 8
typedef Elf64_Ehdr elf_header;
typedef Elf64_Phdr elf_segment;
typedef Elf64_Dyn elf_dynamic;
typedef Elf64_Sym elf_symbol;
enum { ELF_CLASS = ELFCLASS64 };
#else
typedef Elf32_Ehdr elf_header;
typedef Elf32_Phdr elf_segment;
typedef Elf32_Dyn elf_dynamic;
typedef Elf32_Sym elf_symbol;
enum { ELF_CLASS = ELFCLASS32 };
#endif
#if defined(__x86_64__)
enum { ELF_HERE = EM_X86_64 };
#elif defined(__aarch64__)
enum { ELF_HERE = EM_AARCH64 };
#elif defined(__riscv)
enum { ELF_HERE = EM_RISCV };
#elif defined(__powerpc64__)
enum { ELF_HERE = EM_PPC64 };
#elif defined(__s390x__)
enum { ELF_HERE = EM_S390 };
#else
enum { ELF_HERE = EM_386 };
#endif
enum { ELF_ORDER = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB, ELF_SYMBOLS_MAX = 1 << 20 };

/* What a file may show, a row a class. names: symbols whose import is it, blank separated. */
static const struct check {
    const char *class, *before, *says, *names;
} checks[] = {
    { "text_relocations", "", "has text relocations: its code is not shared and not protected (compile with -fPIC)",
      "" },
    { "executable_stack", "",
      "wants an executable stack, which then every thread of the server has (link with -Wl,-z,noexecstack; an "
      "assembler "
      "file says .section .note.GNU-stack)",
      "" },
    { "signals", "imports ",
      ": handlers are the host's and outlive the plugin's code (leave signals and fork to the host)",
      "pthread_atfork __register_atfork sigaction signal __sysv_signal sigset siginterrupt" },
    { "processes", "imports ", ": a plugin may start no process inside the server (give it a process of its own)",
      "fork vfork clone posix_spawn posix_spawnp system popen execve execv execvp execvpe execl execlp execle "
      "fexecve" },
    { "exit", "imports ", ": can end the whole server (return an error instead)", "exit _exit quick_exit _Exit" },
    { "nodelete", "", "is linked with -z nodelete: it can never be unloaded (link without it)", "" },
    { "unique", "has the GNU_UNIQUE symbol ",
      ": it will stay mapped and share it with its next version (compile with -fvisibility=hidden -fno-gnu-unique)",
      "" },
    { "thread_locals", "imports ",
      ": a thread-local object with a destructor keeps the library mapped (keep it in `self`)",
      "__cxa_thread_atexit __cxa_thread_atexit_impl" },
    { "thread_keys", "imports ",
      ": a thread that ends later calls a destructor in code that is gone (keep the data in `self`)",
      "pthread_key_create tss_create" },
    { "threads", "imports ", ": a thread that still runs after the unload ends in a crash (use offload or SL_POOL)",
      "pthread_create thrd_create" },
    { "libraries", "imports ", ": what it opens escapes the loader's checks and stays (link it statically)",
      "dlopen dlmopen" },
    { "needed", "needs ", ": a shared dependency is not replaced when the plugin is (link it statically)", "" },
    { "exports", "exports ", " besides sl_plugin_v1 (link with -Wl,--version-script=sdk/plugin.map)", "" },
    { "static_tls", "", "uses static thread-local storage, of which a process has little (-ftls-model=global-dynamic)",
      "" },
};
enum { CHECKS = sizeof checks / sizeof *checks, NAMES_ROOM = 120 };
_Static_assert((int)CHECKS < (int)ELF_FINDINGS, "one finding a class, and one for the file");

struct elf { /* the file in memory and where its tables are; every offset was checked against size */
    const unsigned char *file;
    size_t size;
    const elf_segment *segments;
    size_t n_segments;
    const elf_dynamic *dynamic;
    size_t n_dynamic;
    const char *strings;
    size_t n_strings;
    struct hit {
        size_t n, more, used; /* names seen, those that had no room, bytes of `names` */
        char names[NAMES_ROOM];
    } hits[CHECKS];
    const char *damage; /* it cannot be loaded at all */
    char text[96];
};

static bool __attribute__((format(printf, 2, 3))) damaged(struct elf *e, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(e->text, sizeof e->text, format, ap);
    va_end(ap);
    e->damage = e->text;
    return false;
}

/* However many symbols of a class there are, they make one finding: a flood of one hides nothing of another. */
static void hit(struct elf *e, const char *class, const char *name)
{
    size_t i = 0;
    while (strcmp(checks[i].class, class) != 0)
        i++;
    struct hit *h = &e->hits[i];
    size_t room = sizeof h->names - h->used;
    int n = snprintf(h->names + h->used, room, "%s%s", h->n ? ", " : "", name);
    if (h->n++ > 0 && (size_t)n >= room) {
        h->names[h->used] = 0;
        h->more++;
        return;
    }
    for (size_t end = h->used + ((size_t)n < room ? (size_t)n : room - 1); h->used < end; h->used++)
        if (h->names[h->used] < ' ' || h->names[h->used] > '~') h->names[h->used] = '?';
}

static size_t report(const struct elf *e, struct elf_finding out[ELF_FINDINGS])
{
    size_t n = 0;
    char more[40] = "";
    for (size_t i = 0; i < CHECKS; i++) {
        const struct hit *h = &e->hits[i];
        if (h->n == 0) continue;
        if (h->more) snprintf(more, sizeof more, " and %zu more", h->more);
        out[n].class = checks[i].class;
        snprintf(out[n++].text, sizeof out->text, "%s%s%s%s", checks[i].before, h->names, h->more ? more : "",
                 checks[i].says);
    }
    if (!e->damage) return n;
    out[n].class = "file";
    snprintf(out[n++].text, sizeof out->text, "%s", e->damage);
    return n;
}

static const void *at(const struct elf *e, uint64_t offset, uint64_t n, size_t each)
{
    if (offset % sizeof(void *) != 0 || offset > e->size || n > (e->size - offset) / each) return NULL;
    return e->file + offset;
}

/* Virtual address to bytes in the file, with the bytes that follow it in its segment. */
static const unsigned char *mapped(const struct elf *e, uint64_t address, size_t *left)
{
    for (size_t i = 0; i < e->n_segments; i++) {
        const elf_segment *s = &e->segments[i];
        if (s->p_type != PT_LOAD || address < s->p_vaddr || address - s->p_vaddr >= s->p_filesz) continue;
        uint64_t inside = address - s->p_vaddr;
        if (s->p_offset > e->size || s->p_filesz > e->size - s->p_offset) return NULL;
        *left = (size_t)(s->p_filesz - inside);
        return e->file + s->p_offset + inside;
    }
    return NULL;
}

static bool dynamic_value(const struct elf *e, int64_t tag, uint64_t *value)
{
    for (size_t i = 0; i < e->n_dynamic && e->dynamic[i].d_tag != DT_NULL; i++)
        if ((int64_t)e->dynamic[i].d_tag == tag) {
            *value = e->dynamic[i].d_un.d_val;
            return true;
        }
    return false;
}

static const char *string_at(const struct elf *e, uint64_t offset)
{
    if (offset >= e->n_strings || !memchr(e->strings + offset, 0, e->n_strings - offset)) return "";
    return e->strings + offset;
}

/* How many dynamic symbols there are: from the GNU hash table (its last chain ends at the last symbol) or the old one.
 */
static size_t symbol_count(const struct elf *e)
{
    uint64_t address;
    size_t left;
    const unsigned char *p;
    if (dynamic_value(e, DT_HASH, &address) && (p = mapped(e, address, &left)) && left >= 8) {
        uint32_t chains;
        memcpy(&chains, p + 4, 4);
        return chains;
    }
    if (!dynamic_value(e, DT_GNU_HASH, &address) || !(p = mapped(e, address, &left)) || left < 16) return 0;
    uint32_t head[4]; /* buckets, first hashed symbol, bloom words, shift */
    memcpy(head, p, 16);
    uint64_t buckets = 16 + (uint64_t)head[2] * sizeof(void *), chains = buckets + (uint64_t)head[0] * 4;
    if (chains > left) return 0;
    uint32_t last = 0, word;
    for (uint32_t i = 0; i < head[0]; i++) {
        memcpy(&word, p + buckets + (size_t)i * 4, 4);
        if (word > last) last = word;
    }
    if (last < head[1]) return head[1]; /* nothing is exported: imports only */
    for (uint64_t o = chains + (uint64_t)(last - head[1]) * 4; o + 4 <= left; o += 4, last++) {
        memcpy(&word, p + o, 4);
        if (word & 1) return (size_t)last + 1;
    }
    return 0;
}

static void check_import(struct elf *e, const char *name)
{
    sl_str rest, word;
    for (size_t i = 0; i < CHECKS; i++)
        for (rest = sl_cstr(checks[i].names); str_split(&rest, ' ', &word);)
            if (sl_is(word, name)) hit(e, checks[i].class, name);
}

static void check_symbol(struct elf *e, const elf_symbol *s, bool *descriptor)
{
    const char *name = string_at(e, s->st_name);
    unsigned bind = s->st_info >> 4;
    if (s->st_shndx == SHN_UNDEF) {
        check_import(e, name);
        return;
    }
    if (bind == STB_LOCAL || !*name || s->st_shndx == SHN_ABS) return;
    if (strcmp(name, "sl_plugin_v1") == 0)
        *descriptor = true;
    else
        hit(e, bind == STB_GNU_UNIQUE ? "unique" : "exports", name);
}

static void check_symbols(struct elf *e)
{
    uint64_t address;
    size_t left, n = symbol_count(e);
    bool descriptor = false;
    const unsigned char *table;
    if (dynamic_value(e, DT_SYMTAB, &address) && (table = mapped(e, address, &left)) && n <= ELF_SYMBOLS_MAX)
        for (size_t i = 1; i < n && (i + 1) * sizeof(elf_symbol) <= left; i++) {
            elf_symbol s;
            memcpy(&s, table + i * sizeof s, sizeof s);
            check_symbol(e, &s, &descriptor);
        }
    if (!descriptor) damaged(e, "exports no sl_plugin_v1: this is not a Service Layer plugin");
}

static void check_needed(struct elf *e)
{
    static const char *const usual[] = { "libc.so.",    "libm.so.", "libdl.so.",    "libpthread.so.", "libjansson.so.4",
                                         "librt.so.",   "ld-linux", "libgcc_s.so.", "libasan.so.",    "libubsan.so.",
                                         "libtsan.so.", "ld64.so.", "linux-vdso" };
    for (size_t i = 0; i < e->n_dynamic && e->dynamic[i].d_tag != DT_NULL; i++) {
        if (e->dynamic[i].d_tag != DT_NEEDED) continue;
        const char *name = string_at(e, e->dynamic[i].d_un.d_val);
        bool known = false;
        for (size_t k = 0; k < sizeof usual / sizeof *usual; k++)
            known = known || strncmp(name, usual[k], strlen(usual[k])) == 0;
        if (!known) hit(e, "needed", name);
    }
}

static void check_flags(struct elf *e)
{
    uint64_t flags = 0, flags_1 = 0, unused;
    dynamic_value(e, DT_FLAGS, &flags);
    dynamic_value(e, DT_FLAGS_1, &flags_1);
    bool stack = true; /* executable, when nothing is said */
    for (size_t i = 0; i < e->n_segments; i++)
        if (e->segments[i].p_type == PT_GNU_STACK) stack = e->segments[i].p_flags & PF_X;
    if (stack) hit(e, "executable_stack", "");
    if (flags_1 & DF_1_NODELETE) hit(e, "nodelete", "");
    if (flags & DF_STATIC_TLS) hit(e, "static_tls", "");
    if ((flags & DF_TEXTREL) || dynamic_value(e, DT_TEXTREL, &unused)) hit(e, "text_relocations", "");
}

static bool read_header(struct elf *e)
{
    const elf_header *h = at(e, 0, 1, sizeof *h);
    if (!h || memcmp(h->e_ident, ELFMAG, SELFMAG) != 0) return damaged(e, "is not an ELF file");
    if (h->e_ident[EI_CLASS] != ELF_CLASS || h->e_ident[EI_DATA] != ELF_ORDER || h->e_machine != ELF_HERE)
        return damaged(e, "is built for another machine (ELF machine %u, this host is %u)", h->e_machine,
                       (unsigned)ELF_HERE);
    if (h->e_type != ET_DYN) return damaged(e, "is not a shared library");
    if (h->e_phentsize != sizeof(elf_segment) || !(e->segments = at(e, h->e_phoff, h->e_phnum, sizeof *e->segments)))
        return damaged(e, "is cut off or damaged: its program headers lie outside the file");
    e->n_segments = h->e_phnum;
    return true;
}

static bool read_dynamic(struct elf *e)
{
    for (size_t i = 0; i < e->n_segments; i++) {
        const elf_segment *s = &e->segments[i];
        if (s->p_type == PT_LOAD && (s->p_offset > e->size || s->p_filesz > e->size - s->p_offset))
            return damaged(e, "is cut off: a segment ends behind the end of the file");
        if (s->p_type == PT_INTERP) return damaged(e, "is a program, not a shared library");
        if (s->p_type == PT_DYNAMIC) {
            e->n_dynamic = s->p_filesz / sizeof *e->dynamic;
            e->dynamic = at(e, s->p_offset, e->n_dynamic, sizeof *e->dynamic);
        }
    }
    uint64_t address, size;
    size_t left;
    if (e->dynamic && dynamic_value(e, DT_STRTAB, &address) && dynamic_value(e, DT_STRSZ, &size) &&
        (e->strings = (const char *)mapped(e, address, &left)) && size <= left) {
        e->n_strings = (size_t)size;
        return true;
    }
    return damaged(e, "has no dynamic section that can be read");
}

size_t elf_check(const void *file, size_t size, struct elf_finding out[ELF_FINDINGS])
{
    struct elf e = { .file = file, .size = size };
    if (read_header(&e) && read_dynamic(&e)) {
        check_symbols(&e);
        check_flags(&e);
        check_needed(&e);
    }
    return report(&e, out);
}
