/* input.c - see input.h. */
#include "input.h"
#include "kernel.h"
#include "peer.h"

#include <stdio.h>
#include <string.h>

uint64_t take_value(struct input *in)
{
    const uint8_t pick = take8(in);
    return pick >= 0x80 ? take64(in) : watch_near(pick);
}

void take_bytes(struct input *in)
{
    const uint64_t offset = take16(in) % kernel_most_bytes();
    const uint64_t n = take8(in), most = kernel_most_bytes() - offset;
    for (uint64_t i = 0; i < n && i < most; i++)
        kernel_raw()[offset + i] = take8(in);
}

/* EAGAIN, EEXIST, ENOENT and ENOSPC come from the kernel that stands in; others would be ours. */
static bool is_of_kernel(int64_t rc)
{
    const int e = IPCR_TO_ERRNO(rc);
    return e == 2 || e == 11 || e == 17 || e == 28;
}

void check_status(int64_t rc, uint64_t allowed, const char *call)
{
    if (rc >= 0 || (IPCR_IS_ERRNO(rc) && is_of_kernel(rc)))
        return;
    if (rc < IPCR_LAGGED_OUT || (STATUS(rc) & allowed) == 0) {
        char what[80];
        snprintf(what, sizeof what, "%s returned what it never may", call);
        violation(what, (uint64_t)rc);
    }
}

void touch(const void *from, uint64_t n)
{
    static uint8_t sink[1 << 16];
    if (n > sizeof sink)
        violation("more bytes than any message of these has", n);
    if (n != 0)
        memcpy(sink, from, n);
}
