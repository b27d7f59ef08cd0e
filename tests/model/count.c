/* count.c - how many of the schedules were different, by the sums of their records: to see whether a scenario has more
 * to it.
 *
 * An estimate, as soon as they are many: linear counting (Whang, Vander-Zanden and Taylor, 1990), n = -m ln(share of m
 * bits that are not set).
 */
#include "explore.h"

#include <math.h>
#include <string.h>

enum { BITS = 1 << 20 };
static uint64_t bits[BITS / 64];
static uint64_t set;

void count_begin(void)
{
    memset(bits, 0, sizeof bits);
    set = 0;
}

void count_schedule(uint64_t sum)
{
    const uint64_t bit = sum >> 44;
    set += (bits[bit / 64] >> (bit % 64) & 1) == 0;
    bits[bit / 64] |= UINT64_C(1) << (bit % 64);
}

uint64_t count_different(void)
{
    const double left = set == BITS ? 1 : (double)(BITS - set);
    return (uint64_t)(BITS * log(BITS / left) + 0.5);
}
