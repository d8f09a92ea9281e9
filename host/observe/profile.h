/* profile.h - a profile of where this process spends its CPU time, sampled by a timer. */
#ifndef OBSERVE_PROFILE_H
#define OBSERVE_PROFILE_H
#include "observe/symbols.h"

enum { PROFILE_HZ = 100, PROFILE_SECONDS_MAX = 60 };
/* Begin to sample all threads. False: one is being taken already, `seconds` is over the maximum, or there is no memory.
 * On the loop thread. */
bool profile_start(uint32_t seconds);
void profile_stop(void); /* on the loop thread; then, on any: */
/* Write what was sampled in pprof's form, gzip. False: it is too large. */
bool profile_write(const struct symbol_file *files, size_t n_files, buf *out, size_t *samples);
void profile_forget(void); /* on the loop thread, once no profile_write runs: the next one may begin */
#endif
