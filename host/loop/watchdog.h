/* watchdog.h - notices when one call holds the loop too long. Internal to loop/. */
#ifndef LOOP_WATCHDOG_H
#define LOOP_WATCHDOG_H
#include "loop/loop.h"

void watchdog_start(uint32_t slow_ms, loop_slow_fn *slow);
void watchdog_stop(void);
void watchdog_enter(const char *module, const char *name); /* this call has the loop now */
void watchdog_leave(void);                                 /* the loop is back with itself */
#endif
