/* input.h - the bytes that make a program of operations, and what every target checks of the core's answers. */
#ifndef IPCR_TESTS_FUZZ_INPUT_H
#define IPCR_TESTS_FUZZ_INPUT_H

#include "status.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
extern const uint8_t fuzzed_operations; /* how many there are: for the driver, which makes some up */

/* The rest of the input; what is missing is 0. */
struct input {
    const uint8_t *at, *behind;
};

static inline uint8_t take8(struct input *in) { return in->at < in->behind ? *in->at++ : 0; }
static inline uint16_t take16(struct input *in)
{
    const uint16_t low = take8(in);
    return (uint16_t)(low | take8(in) << 8);
}
static inline uint64_t take64(struct input *in)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value |= (uint64_t)take8(in) << 8 * i;
    return value;
}

/* Near what would be right, or anything. */
uint64_t take_value(struct input *in);
/* Bytes of the peer: where (16 bits), how many, and they themselves. */
void take_bytes(struct input *in);

/* Ends the run if this is no status, or none that `allowed` (bits of STATUS) has; lengths pass. */
#define STATUS(status) (UINT64_C(1) << -(status))
void check_status(int64_t rc, uint64_t allowed, const char *call);

/* Reads every byte. */
void touch(const void *from, uint64_t n);

#endif
