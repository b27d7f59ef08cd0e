/* clock.c - see clock.h.  The linker leads all callers of these two functions of os.c here (--wrap). */
#include "clock.h"
#include "waiting.h"

static uint64_t ahead_ns; /* only ever grows, as the clock does */

void time_passes(uint64_t seconds) { ahead_ns += seconds * UINT64_C(1000000000); }

uint64_t __real_ipcr_os_now_ns(void);
uint64_t __wrap_ipcr_os_now_ns(void);
uint64_t __wrap_ipcr_os_now_ns(void) { return __real_ipcr_os_now_ns() + ahead_ns; }

int __real_ipcr_os_futex_wait(ipcr_word32 *word, uint32_t expected, uint64_t deadline_ns);
int __wrap_ipcr_os_futex_wait(ipcr_word32 *word, uint32_t expected, uint64_t deadline_ns);
int __wrap_ipcr_os_futex_wait(ipcr_word32 *word, uint32_t expected, uint64_t deadline_ns)
{
    return __real_ipcr_os_futex_wait(word, expected,
                                     deadline_ns == IPCR_FOREVER ? deadline_ns : deadline_ns - ahead_ns);
}
