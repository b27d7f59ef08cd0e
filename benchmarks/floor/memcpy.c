/* memcpy.c - the floor of a large message: one copy of PARAMETER bytes, source and target in cache, one thread. */
#include "common.h"

static uint64_t copy(uint8_t *target, const uint8_t *source, uint64_t bytes, uint64_t times)
{
    const uint64_t start = now_ns();
    for (uint64_t i = 0; i < times; i++) {
        memcpy(target, source, bytes);
        __asm__ volatile("" : : "r"(target), "r"(source) : "memory"); /* somebody might look: no copy is left out */
    }
    return now_ns() - start;
}

int main(int argc, char **argv)
{
    const struct arguments given = parse(argc, argv);
    const uint64_t bytes = given.parameter;
    pin(given.cpu[0]);
    const uint64_t pages = (bytes + 4095) / 4096 * 4096; /* aligned_alloc takes multiples only */
    uint8_t *source = aligned_alloc(4096, pages), *target = aligned_alloc(4096, pages);
    require(source != NULL && target != NULL, "aligned_alloc");
    memset(source, 1, bytes);
    memset(target, 2, bytes);
    copy(target, source, bytes, given.count / 10 + 1);
    const double seconds = (double)copy(target, source, bytes, given.count) / 1e9;
    printf("{\"seconds\": %.9f, \"metrics\": {\"gigabytes_per_second\": %.3f}}\n", seconds,
           (double)bytes * (double)given.count / seconds / 1e9);
    return 0;
}
