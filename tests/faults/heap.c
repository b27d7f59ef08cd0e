/* heap.c - malloc that can fail and that counts: what an operation left allocated is a leak.
 *
 * Part of the program, not of inject.so: Python's own allocations are none of our business.
 */
#include "heap.h"
#include "inject.h"

#include <stdlib.h>

/* glibc's own names for what we replace */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_memalign(size_t alignment, size_t n);
void __libc_free(void *p);

static long alive;

long heap_alive(void) { return __atomic_load_n(&alive, __ATOMIC_RELAXED); }

static bool fails(void)
{
    static int call = -1;
    if (call < 0)
        call = inject_find("malloc");
    return inject_fails(call);
}

static void *counted(void *p)
{
    if (p != NULL)
        __atomic_add_fetch(&alive, 1, __ATOMIC_RELAXED);
    return p;
}

void *malloc(size_t n) { return fails() ? NULL : counted(__libc_malloc(n)); }
void *calloc(size_t n, size_t size) { return fails() ? NULL : counted(__libc_calloc(n, size)); }
void *aligned_alloc(size_t alignment, size_t n) { return fails() ? NULL : counted(__libc_memalign(alignment, n)); }

void free(void *p)
{
    if (p != NULL)
        __atomic_sub_fetch(&alive, 1, __ATOMIC_RELAXED);
    __libc_free(p);
}
