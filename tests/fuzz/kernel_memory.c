/* kernel_memory.c - mappings between guard pages.  See kernel.h.
 *
 * A reservation is [guard][bytes][guard], and stays when it is unmapped: poisoned, so that whoever still uses it is
 * found, and used again for the next of that size.  What it shows of the file is mapped again only if that differs.
 */
#include "kernel_rooms.h"
#include "status.h"
#include "watched.h"

#include <sanitizer/asan_interface.h>
#include <stdio.h>
#include <sys/mman.h>

enum { REGIONS = 40, PIECES = 2 };
#define GUARD (UINT64_C(1) << 20)

/* pieces: which bytes of the file it shows, in the order of addresses; of the current user, the first `shown`. */
static struct {
    uint8_t *at;
    uint64_t bytes;
    struct {
        uint64_t from, offset, bytes;
    } piece[PIECES];
    int shown, mapped;
    bool used, read_only;
} region[REGIONS];

static uint8_t *hold_pages; /* one per description, never touched */

uint8_t *kernel_reserve(uint64_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        violation("the fuzzer itself has no memory", bytes);
    return p;
}

bool kernel_nothing_mapped(void)
{
    bool nothing = true;
    for (int i = 0; i < REGIONS; i++) {
        if (region[i].used) {
            fprintf(stderr, "%llu bytes are still mapped\n", (unsigned long long)region[i].bytes);
            nothing = false;
        }
    }
    return nothing;
}

static int region_of(const uint8_t *at)
{
    for (int i = 0; i < REGIONS; i++)
        if (region[i].used && at >= region[i].at && at < region[i].at + region[i].bytes)
            return i;
    violation("memory that isn't mapped", 0);
}

static int make_region(int i, uint64_t bytes, bool read_only)
{
    region[i].at = kernel_reserve(bytes + 2 * GUARD) + GUARD;
    region[i].bytes = bytes;
    region[i].read_only = read_only;
    region[i].mapped = 0;
    return i;
}

/* One that was used before, a new one, or the place of one that nobody uses. */
static int free_region(uint64_t bytes, bool read_only)
{
    for (int i = 0; i < REGIONS; i++)
        if (!region[i].used && region[i].at != NULL && region[i].bytes == bytes && region[i].read_only == read_only)
            return i;
    for (int i = 0; i < REGIONS; i++)
        if (region[i].at == NULL)
            return make_region(i, bytes, read_only);
    for (int i = 0; i < REGIONS; i++) {
        if (!region[i].used) {
            __asan_unpoison_memory_region(region[i].at, region[i].bytes);
            munmap(region[i].at - GUARD, region[i].bytes + 2 * GUARD);
            return make_region(i, bytes, read_only);
        }
    }
    violation("mappings leak", REGIONS);
}

static int new_region(uint64_t bytes, bool read_only)
{
    const int i = free_region(bytes, read_only);
    region[i].used = true;
    region[i].shown = 0;
    __asan_poison_memory_region(region[i].at, bytes);
    return i;
}

bool kernel_offset(const void *where, uint64_t *offset)
{
    const uint8_t *at = where;
    for (int i = 0; i < REGIONS && region[i].at != NULL; i++) {
        if (!region[i].used || at < region[i].at || at >= region[i].at + region[i].bytes)
            continue;
        const uint64_t from = (uint64_t)(at - region[i].at);
        for (int k = 0; k < region[i].shown; k++) {
            if (from - region[i].piece[k].from < region[i].piece[k].bytes) {
                *offset = region[i].piece[k].offset + (from - region[i].piece[k].from);
                return true;
            }
        }
    }
    return false;
}

static void map_piece(int i, uint64_t from, uint64_t offset, uint64_t bytes)
{
    const int k = region[i].shown++;
    const int protection = region[i].read_only ? PROT_READ : PROT_READ | PROT_WRITE;
    if (k == PIECES)
        violation("maps more pieces than it needs", PIECES);
    if (k < region[i].mapped && region[i].piece[k].from == from && region[i].piece[k].offset == offset &&
        region[i].piece[k].bytes == bytes)
        return;
    region[i].mapped = k + 1;
    region[i].piece[k].from = from;
    region[i].piece[k].offset = offset;
    region[i].piece[k].bytes = bytes;
    if (mmap(region[i].at + from, bytes, protection, MAP_SHARED | MAP_FIXED, kernel_file.memfd, (off_t)offset) ==
        MAP_FAILED)
        violation("the fuzzer itself can't map", bytes);
}

int ipcr_os_reserve(uint64_t bytes, uint8_t **at)
{
    if (bytes > 2 * kernel_most_bytes())
        violation("reserves more than twice the largest file", bytes);
    *at = region[new_region(bytes, false)].at;
    return IPCR_OK;
}

int ipcr_os_map(uint8_t *at, int fd, uint64_t offset, uint64_t bytes)
{
    kernel_known(fd);
    const int i = region_of(at);
    if (offset + bytes > kernel_file.size || at + bytes > region[i].at + region[i].bytes)
        violation("maps more than there is", offset + bytes);
    map_piece(i, (uint64_t)(at - region[i].at), offset, bytes);
    watch_mapped(at, offset, bytes);
    return IPCR_OK;
}

int ipcr_os_map_read_only(int fd, uint64_t bytes, const uint8_t **at)
{
    kernel_known(fd);
    const uint64_t whole = (bytes + kernel_page() - 1) / kernel_page() * kernel_page();
    if (bytes > kernel_file.size || whole > kernel_most_bytes())
        violation("maps more than there is", bytes);
    const int i = new_region(whole, true);
    map_piece(i, 0, 0, whole);
    __asan_unpoison_memory_region(region[i].at, bytes);
    *at = region[i].at;
    return IPCR_OK;
}

int ipcr_os_map_hold(int fd, void **where)
{
    const int i = kernel_known(fd);
    if (hold_pages == NULL)
        hold_pages = kernel_reserve(DESCRIPTIONS * kernel_page());
    kernel_description[i].users++;
    *where = hold_pages + (uint64_t)i * kernel_page();
    return IPCR_OK;
}

void ipcr_os_unmap(const void *where, uint64_t bytes)
{
    const uint8_t *at = where;
    if (at == NULL)
        return;
    if (hold_pages != NULL && at >= hold_pages && at < hold_pages + DESCRIPTIONS * kernel_page()) {
        kernel_put((int)((uint64_t)(at - hold_pages) / kernel_page()));
        return;
    }
    const int i = region_of(at);
    if (at != region[i].at || (bytes != region[i].bytes && !region[i].read_only))
        violation("unmaps a piece", bytes);
    region[i].used = false;
    __asan_poison_memory_region(region[i].at, region[i].bytes); /* whoever still uses it is found */
}
