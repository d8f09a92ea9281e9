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

struct elf { /* the file in memory and where its tables are; every offset was checked against size */
    const unsigned char *file;
    size_t size;
    const elf_segment *segments;
    size_t n_segments;
    const elf_dynamic *dynamic;
    size_t n_dynamic;
    const char *strings;
    size_t n_strings;
    struct elf_finding *out;
    size_t found;
};

/* class "file": it cannot be loaded at all. */
static void __attribute__((format(printf, 3, 4))) finding(struct elf *e, const char *class, const char *format, ...)
{
    bool fatal = strcmp(class, "file") == 0;
    if (e->found == ELF_FINDINGS && !fatal) return;
    struct elf_finding *f = &e->out[e->found < ELF_FINDINGS ? e->found++ : ELF_FINDINGS - 1];
    f->fatal = fatal;
    f->class = class;
    va_list ap;
    va_start(ap, format);
    vsnprintf(f->text, sizeof f->text, format, ap);
    va_end(ap);
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

static const struct {
    const char *class, *says, *names; /* blank separated */
} imports[] = {
    { "threads",
      "starts threads of its own, and one that runs while the plugin is unloaded ends in a crash (use offload)",
      "pthread_create thrd_create" },
    { "thread_keys", "keeps thread-specific data whose destructor outlives the plugin's code (keep it in `self`)",
      "pthread_key_create tss_create" },
    { "thread_locals", "has thread-local objects with destructors: the library will stay mapped (keep them in `self`)",
      "__cxa_thread_atexit __cxa_thread_atexit_impl" },
    { "signals",
      "installs handlers that are the host's and outlive the plugin's code (leave signals and fork to the host)",
      "pthread_atfork __register_atfork sigaction signal" },
    { "processes", "starts processes, which a plugin may not do inside the server (give it a process of its own)",
      "fork vfork clone posix_spawn posix_spawnp system popen execve execv execvp" },
    { "libraries", "loads further libraries, which escape the loader's checks (link them statically)",
      "dlopen dlmopen" },
    { "exit", "can end the whole server (return an error instead)", "exit _exit quick_exit _Exit" },
};

static void check_import(struct elf *e, const char *name)
{
    sl_str rest, word;
    for (size_t i = 0; i < sizeof imports / sizeof *imports; i++)
        for (rest = sl_cstr(imports[i].names); str_split(&rest, ' ', &word);)
            if (sl_is(word, name)) finding(e, imports[i].class, "imports %s: %s", name, imports[i].says);
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
    if (bind == STB_GNU_UNIQUE)
        finding(e, "unique",
                "symbol %.100s is GNU_UNIQUE: the library will stay mapped and share it with its next version "
                "(compile with -fvisibility=hidden -fno-gnu-unique)",
                name);
    if (strcmp(name, "sl_plugin_v1") == 0)
        *descriptor = true;
    else if (bind != STB_GNU_UNIQUE)
        finding(e, "exports", "exports %.100s besides sl_plugin_v1 (link with -Wl,--version-script=sdk/plugin.map)",
                name);
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
    if (!descriptor) finding(e, "file", "exports no sl_plugin_v1: this is not a Service Layer plugin");
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
        if (!known)
            finding(e, "needed",
                    "needs %.100s: a shared dependency is not replaced when the plugin is (link it statically)", name);
    }
}

static void check_flags(struct elf *e)
{
    uint64_t flags = 0, flags_1 = 0, unused;
    dynamic_value(e, DT_FLAGS, &flags);
    dynamic_value(e, DT_FLAGS_1, &flags_1);
    if (flags_1 & DF_1_NODELETE)
        finding(e, "nodelete", "is linked with -z nodelete: it can never be unloaded (link without it)");
    if (flags & DF_STATIC_TLS)
        finding(e, "static_tls",
                "uses static thread-local storage, of which a process has little (-ftls-model=global-dynamic)");
    if ((flags & DF_TEXTREL) || dynamic_value(e, DT_TEXTREL, &unused))
        finding(e, "text_relocations",
                "has text relocations: its code is not shared and not protected (compile with -fPIC)");
}

static bool read_header(struct elf *e)
{
    const elf_header *h = at(e, 0, 1, sizeof *h);
    if (!h || memcmp(h->e_ident, ELFMAG, SELFMAG) != 0) return finding(e, "file", "is not an ELF file"), false;
    if (h->e_ident[EI_CLASS] != ELF_CLASS || h->e_ident[EI_DATA] != ELF_ORDER || h->e_machine != ELF_HERE)
        return finding(e, "file", "is built for another machine (ELF machine %u, this host is %u)", h->e_machine,
                       (unsigned)ELF_HERE),
               false;
    if (h->e_type != ET_DYN) return finding(e, "file", "is not a shared library"), false;
    if (h->e_phentsize != sizeof(elf_segment) || !(e->segments = at(e, h->e_phoff, h->e_phnum, sizeof *e->segments)))
        return finding(e, "file", "is cut off or damaged: its program headers lie outside the file"), false;
    e->n_segments = h->e_phnum;
    return true;
}

static bool read_dynamic(struct elf *e)
{
    for (size_t i = 0; i < e->n_segments; i++) {
        const elf_segment *s = &e->segments[i];
        if (s->p_type == PT_LOAD && (s->p_offset > e->size || s->p_filesz > e->size - s->p_offset))
            return finding(e, "file", "is cut off: a segment ends behind the end of the file"), false;
        if (s->p_type == PT_INTERP) return finding(e, "file", "is a program, not a shared library"), false;
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
    return finding(e, "file", "has no dynamic section that can be read"), false;
}

size_t elf_check(const void *file, size_t size, struct elf_finding out[ELF_FINDINGS])
{
    struct elf e = { .file = file, .size = size, .out = out };
    if (!read_header(&e) || !read_dynamic(&e)) return e.found;
    check_symbols(&e);
    check_flags(&e);
    check_needed(&e);
    return e.found;
}
