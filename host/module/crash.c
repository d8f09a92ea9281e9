/* crash.c - the last words of a process that crashes: which plugin it was, which entry, which build, and where in it.
 */
#include "module/private.h"
#include "base/log.h"
#include <elf.h>
#include <pthread.h>
#include <signal.h>
#include <ucontext.h>

enum { STACK = 64 << 10 };
#if __SIZEOF_POINTER__ == 8
typedef Elf64_Ehdr elf_header;
typedef Elf64_Phdr elf_segment;
#else
typedef Elf32_Ehdr elf_header;
typedef Elf32_Phdr elf_segment;
#endif

/* A note is three words, a name and a value, both padded to four bytes (the ELF specification, "Note Section"). */
static bool find_note(const unsigned char *p, size_t n, char out[41])
{
    static const char hex[] = "0123456789abcdef";
    uint32_t head[3];
    while (n >= sizeof head) {
        memcpy(head, p, sizeof head);
        uint64_t name = ((uint64_t)head[0] + 3) & ~(uint64_t)3, value = ((uint64_t)head[1] + 3) & ~(uint64_t)3;
        if (name + value > n - sizeof head) return false;
        const unsigned char *id = p + sizeof head + name;
        if (head[2] == NT_GNU_BUILD_ID && head[0] == 4 && memcmp(p + sizeof head, "GNU", 4) == 0) {
            for (uint32_t i = 0; i < head[1] && i < 20; i++) {
                out[2 * i] = hex[id[i] >> 4];
                out[2 * i + 1] = hex[id[i] & 15];
                out[2 * i + 2] = 0;
            }
            return true;
        }
        p += sizeof head + name + value;
        n -= (size_t)(sizeof head + name + value);
    }
    return false;
}

void build_id(const void *file, size_t size, char out[41])
{
    elf_header h;
    elf_segment s;
    out[0] = 0;
    if (size < sizeof h) return;
    memcpy(&h, file, sizeof h);
    for (size_t i = 0; i < h.e_phnum; i++) {
        uint64_t at = (uint64_t)h.e_phoff + i * sizeof s;
        if (h.e_phoff > size || at > size - sizeof s) return;
        memcpy(&s, (const unsigned char *)file + at, sizeof s);
        if (s.p_type != PT_NOTE || s.p_offset > size || s.p_filesz > size - s.p_offset) continue;
        if (find_note((const unsigned char *)file + s.p_offset, (size_t)s.p_filesz, out)) return;
    }
}

/* ---- in the handler: nothing that takes a lock or memory, for it may have been interrupted in there ---- */
static pthread_t loop_thread;

static uintptr_t program_counter(const void *context)
{
#if defined(__x86_64__)
    return (uintptr_t)((const ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return (uintptr_t)((const ucontext_t *)context)->uc_mcontext.pc;
#else
    (void)context;
    return 0;
#endif
}

static const struct generation *holds(const struct generation *g, uintptr_t at)
{
    for (; g; g = g->older)
        if (at >= g->base && at < g->end) return g;
    return NULL;
}

/* Whose code the instruction is, whatever thread it runs on. */
static const struct generation *owner(uintptr_t at)
{
    const struct generation *g = NULL;
    for (const struct module *m = modules_first(); m && !g; m = m->next)
        if (!(g = holds(m->current, at)) && !(g = holds(m->staged, at))) g = holds(m->older, at);
    return g;
}

static sl_str hexadecimal(uintptr_t v, char room[20])
{
    char *p = room + 20;
    do
        *--p = "0123456789abcdef"[v % 16];
    while (v /= 16);
    *--p = 'x';
    *--p = '0';
    return sl_lit(p, (size_t)(room + 20 - p));
}

static const char *signal_name(int number)
{
    return number == SIGSEGV   ? "SIGSEGV"
           : number == SIGBUS  ? "SIGBUS"
           : number == SIGFPE  ? "SIGFPE"
           : number == SIGILL  ? "SIGILL"
           : number == SIGABRT ? "SIGABRT"
                               : "SIGSYS";
}

static void on_crash(int number, siginfo_t *info, void *context)
{
    uintptr_t at = program_counter(context);
    const struct generation *mine = owner(at);
    const call *c = pool_call ? pool_call : pthread_equal(pthread_self(), loop_thread) ? call_current() : NULL;
    const struct generation *g = c && c->generation ? c->generation : mine;
    char room[3][20];
    const sl_pair fields[] = {
        LOG_C("signal", signal_name(number)),
        LOG_C("plugin", g ? g->module->name : NULL),
        LOG_C("entry", c && g == c->generation ? c->name : NULL),
        LOG_C("version", g && g->spec.version ? g->spec.version : NULL),
        LOG_C("build", g && g->build[0] ? g->build : NULL),
        { SL("offset"), mine ? hexadecimal(at - mine->base, room[0]) : sl_lit(NULL, 0) }, /* for addr2line */
        { SL("instruction"), hexadecimal(at, room[1]) },
        { SL("address"),
          number == SIGSEGV || number == SIGBUS ? hexadecimal((uintptr_t)info->si_addr, room[2]) : sl_lit(NULL, 0) },
    };
    log_last(g ? "a plugin crashed the process" : "the process crashed", fields, sizeof fields / sizeof *fields);
    signal(number, SIG_DFL);
    raise(number); /* when this handler returns: the core file shows the place */
}

void crash_watch(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    const bool sanitized = true; /* they report crashes themselves, with more */
#else
    const bool sanitized = false;
#endif
    static char stack[STACK];
    static const int deadly[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
    const stack_t other = { .ss_sp = stack, .ss_size = sizeof stack }; /* a fiber's own may be what is used up */
    struct sigaction a = { .sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK };
    loop_thread = pthread_self();
    if (sanitized) return;
    sigaltstack(&other, NULL);
    for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++)
        sigaction(deadly[i], &a, NULL);
}
