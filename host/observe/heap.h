/* heap.h - which calls hold the memory of this process: every so many bytes that are allocated one block is remembered.
 */
#ifndef OBSERVE_HEAP_H
#define OBSERVE_HEAP_H
#include "observe/symbols.h"

void heap_start(size_t period); /* one block each `period` bytes on average; 0 = off. Once, early */
bool heap_on(void);             /* false: off, or a build whose allocator is not ours (sanitizers, valgrind) */
/* Write what the remembered blocks stand for, in pprof's form, gzip. Not for the loop thread. False: too large. */
bool heap_write(const struct symbol_file *files, size_t n_files, buf *out, size_t *samples);
#endif
