/* kernel_time.c - a clock that moves when it is looked at or waited for, sleeps, and lock bytes.  See kernel.h. */
#include "kernel_rooms.h"
#include "format.h"
#include "peer.h"
#include "queue_format.h"
#include "status.h"

enum {
    CLOCK_STEP_NS = 1000000, /* each look at the clock: a slice ends after 100 of them */
    MOST_SLEEPS = 100000,    /* in one run */
};

static uint64_t clock_ns, sleeps;

void kernel_reset_time(void) { clock_ns = sleeps = 0; }
void kernel_pass_time(uint64_t ns) { clock_ns += ns; }

static void count_sleep(void)
{
    if (++sleeps > MOST_SLEEPS)
        violation("sleeps without end", sleeps);
}

uint64_t ipcr_os_now_ns(void) { return clock_ns += CLOCK_STEP_NS; }

void ipcr_os_sleep_ns(uint64_t ns)
{
    clock_ns += ns;
    count_sleep();
}

int ipcr_os_futex_wait(ipcr_word32 *word, uint32_t expected, uint64_t deadline_ns)
{
    count_sleep();
    if (peer_interrupts()) /* as if a signal had come */
        return IPCR_AGAIN;
    if (*word == expected && clock_ns < deadline_ns)
        clock_ns = deadline_ns;
    return IPCR_OK;
}

void ipcr_os_futex_wake(ipcr_word32 *word, int n) { (void)word; (void)n; }

/* --- lock bytes ------------------------------------------------------------------------------------------------- */

static bool there_is(int64_t byte)
{
    const int64_t n = byte - IPCR_LOCK_BASE;
    return byte == IPCR_LOCK_PRESENCE || byte == IPCR_LOCK_NAME ||
           (byte >= IPCR_LOCK_ROLE(0) && byte <= IPCR_LOCK_CLAIM(1)) || (n >= 4096 && n < 4096 + IPCR_MOST_LANES) ||
           (n >= 8192 && n < 8192 + IPCR_MOST_HOLDERS);
}

static char *lock_of(int i, int64_t byte)
{
    for (int k = 0; k < LOCKS_OF_ONE; k++)
        if (kernel_description[i].lock[k].kind != 0 && kernel_description[i].lock[k].byte == byte)
            return &kernel_description[i].lock[k].kind;
    return NULL;
}

static bool in_the_way(int self, int64_t byte, bool exclusive)
{
    if (!there_is(byte))
        violation("no lock byte", (uint64_t)byte);
    for (int i = 0; i < DESCRIPTIONS; i++) {
        const char *lock = kernel_description[i].users != 0 && i != self ? lock_of(i, byte) : NULL;
        if (lock != NULL && (*lock == 'w' || exclusive))
            return true;
    }
    return false;
}

int ipcr_os_lock(int fd, int64_t byte, bool exclusive)
{
    const int i = kernel_known(fd);
    const char kind = exclusive ? 'w' : 'r';
    if (in_the_way(i, byte, exclusive))
        return IPCR_TAKEN;
    char *lock = lock_of(i, byte);
    for (int k = 0; lock == NULL && k < LOCKS_OF_ONE; k++) {
        if (kernel_description[i].lock[k].kind == 0) {
            kernel_description[i].lock[k].byte = byte;
            lock = &kernel_description[i].lock[k].kind;
        }
    }
    if (lock == NULL)
        violation("more locks on one description than anybody needs", LOCKS_OF_ONE);
    *lock = kind;
    return IPCR_OK;
}

int ipcr_os_locked(int fd, int64_t byte, bool *locked)
{
    *locked = in_the_way(kernel_known(fd), byte, true);
    return IPCR_OK;
}
