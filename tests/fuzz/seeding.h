/* seeding.h - what the two makers of seeds share: a seed is put together, and kept in a file.  Included once by each. */
#ifndef FUZZ_SEEDING_H
#define FUZZ_SEEDING_H

#include "kernel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SEED = 1 << 15 };

static uint8_t seed[MOST_SEED];
static size_t seed_bytes;
static const char *directory;
static uint32_t written;

static void put(const void *bytes, size_t n)
{
    if (seed_bytes + n > sizeof seed)
        violation("a seed is too long", seed_bytes + n);
    memcpy(seed + seed_bytes, bytes, n);
    seed_bytes += n;
}

static void put8(uint8_t byte) { put(&byte, 1); }

static void keep(void)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%04u", directory, written++);
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(seed, 1, seed_bytes, f) != seed_bytes || fclose(f) != 0) {
        fprintf(stderr, "can't write %s\n", path);
        exit(1);
    }
}

#endif
