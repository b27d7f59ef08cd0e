/* clock.h - time that passes at once, for the core and for the tests: leases run out without anybody's waiting. */
#ifndef IPCR_TESTS_CRASH_CLOCK_H
#define IPCR_TESTS_CRASH_CLOCK_H

#include <stdint.h>

/* For this process, and for whoever is forked from it. */
void time_passes(uint64_t seconds);

#endif
