/* peer.c - see peer.h. */
#include "peer.h"
#include "kernel.h"

#include <string.h>

enum { MOST_STEPS = 4000000, LATER = 8 };

static uint64_t steps;
static uint64_t storm;

static struct {
    uint32_t in; /* accesses; 0: none */
    bool is_length;
    uint64_t offset, value;
} later[LATER];
static uint32_t waiting; /* how many of them */

uint64_t raw_word(uint64_t offset)
{
    uint64_t value;
    memcpy(&value, kernel_raw() + offset, sizeof value);
    return value;
}

uint32_t raw_word32(uint64_t offset)
{
    uint32_t value;
    memcpy(&value, kernel_raw() + offset, sizeof value);
    return value;
}

static void write_raw(uint64_t offset, uint64_t value)
{
    const uint64_t most = kernel_most_bytes();
    offset %= most;
    const uint64_t n = most - offset < sizeof value ? most - offset : sizeof value;
    memcpy(kernel_raw() + offset, &value, n);
}

void peer_reset(void)
{
    steps = 0;
    storm = 0;
    memset(later, 0, sizeof later);
    waiting = 0;
}

static void add_later(uint32_t n, bool is_length, uint64_t offset, uint64_t value)
{
    for (int i = 0; i < LATER; i++) {
        if (later[i].in == 0) {
            waiting++;
            later[i].in = n + 1;
            later[i].is_length = is_length;
            later[i].offset = offset;
            later[i].value = value;
            return;
        }
    }
}

void peer_write_later(uint32_t n, uint64_t offset, uint64_t value) { add_later(n, false, offset, value); }
void peer_lie_later(uint32_t n, uint64_t length) { add_later(n, true, 0, length); }
void peer_write(uint64_t offset, uint64_t value) { write_raw(offset, value); }

void peer_write_half(uint64_t offset, bool upper, uint64_t value)
{
    const uint64_t was = raw_word(offset), half = value & UINT32_MAX;
    peer_write(offset, upper ? (was & UINT32_MAX) | half << 32 : (was & ~(uint64_t)UINT32_MAX) | half);
}

void peer_storm(uint64_t seed) { storm = seed; }

static uint64_t random_next(void) /* xorshift: never 0 */
{
    storm ^= storm << 13;
    storm ^= storm >> 7;
    storm ^= storm << 17;
    return storm;
}

bool peer_interrupts(void) { return storm != 0 && random_next() % 16 == 0; }

void peer_acts(uint64_t offset, bool shared, bool is_length)
{
    for (int i = 0; i < LATER && waiting != 0; i++) {
        if (later[i].in == 0 || (later[i].is_length && !is_length) || --later[i].in != 0)
            continue;
        waiting--;
        write_raw(later[i].is_length ? offset : later[i].offset, later[i].value);
    }
    if (storm == 0 || !shared || random_next() % 8 != 0)
        return;
    offset &= ~UINT64_C(7);
    write_raw(offset, random_next() % 4 == 0 ? random_next() : watch_plausible(offset, random_next()));
}

void peer_begin(void) { steps = 0; }

void peer_step(void)
{
    if (++steps > MOST_STEPS)
        violation("an operation without end", MOST_STEPS);
}
