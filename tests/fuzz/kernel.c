/* kernel.c - the back end of os.h; see kernel.h. */
#include "kernel.h"
#include "format.h"
#include "liveness.h"
#include "status.h"
#include "watch.h"

#include <errno.h>
#include <sanitizer/asan_interface.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    DESCRIPTIONS = 64,
    REGIONS = 16,
    BYTES = 6,                /* lock bytes of an inode */
    FIRST_DESCRIPTOR = 1000,  /* a real system call on one fails */
    USER = 1000,
    CLOCK_STEP_NS = 1000000,  /* each look at the clock: a slice ends after 100 of them */
    MOST_SLEEPS = 100000,     /* in one run */
};
#define GUARD (UINT64_C(1) << 20)

static struct {
    int memfd;
    uint8_t *raw;
    uint64_t size;
    uint64_t number; /* of its inode */
    bool exists, named;
} file = { .memfd = -1 };

/* fd: how many descriptors (0 or 1) and hold pages lead to it. */
static struct {
    uint32_t users;
    uint8_t lock[BYTES]; /* 'r', 'w', or 0 */
    bool is_open;
} description[DESCRIPTIONS];

/* A reservation: [guard][bytes][guard], mapped once and kept.  Not in use: poisoned. */
static struct {
    uint8_t *at;
    uint64_t bytes;
    bool used, mapped, read_only;
} region[REGIONS];

static uint8_t *hold_pages; /* one per description, never touched */
static uint64_t clock_ns, sleeps;

void violation(const char *what, uint64_t value)
{
    fprintf(stderr, "VIOLATION: %s (%lld)\n", what, (long long)value);
    abort();
}

static uint64_t page(void)
{
    static uint64_t bytes;
    if (bytes == 0)
        bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    return bytes;
}

uint64_t kernel_most_bytes(void) { return 5 * page(); }
uint8_t *kernel_raw(void) { return file.raw; }

static uint8_t *reserve(uint64_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        violation("the fuzzer itself has no memory", bytes);
    return p;
}

void kernel_reset(void)
{
    if (file.memfd < 0) {
        file.memfd = memfd_create("ipc:fuzz", MFD_CLOEXEC);
        if (file.memfd < 0 || ftruncate(file.memfd, (off_t)kernel_most_bytes()) != 0)
            violation("the fuzzer itself has no file", 0);
        file.raw = mmap(NULL, kernel_most_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, file.memfd, 0);
        hold_pages = reserve(DESCRIPTIONS * page());
    }
    memset(file.raw, 0, kernel_most_bytes());
    file.exists = false;
    file.size = 0;
    clock_ns = 0;
    sleeps = 0;
}

void kernel_make_file(const uint8_t *content, uint64_t bytes, bool named)
{
    file.exists = true;
    file.named = named;
    file.number++;
    file.size = bytes;
    if (bytes != 0)
        memcpy(file.raw, content, bytes);
}

static int new_descriptor(int *fd)
{
    for (int i = 0; i < DESCRIPTIONS; i++) {
        if (description[i].users == 0) {
            memset(&description[i], 0, sizeof description[i]);
            description[i].users = 1;
            description[i].is_open = true;
            *fd = FIRST_DESCRIPTOR + i;
            return IPCR_OK;
        }
    }
    violation("descriptions leak", DESCRIPTIONS);
}

int kernel_open(void)
{
    int fd = -1;
    return file.exists && new_descriptor(&fd) == IPCR_OK ? fd : -1;
}

bool kernel_is_idle(void)
{
    bool idle = true;
    for (int i = 0; i < DESCRIPTIONS; i++) {
        if (description[i].users != 0) {
            fprintf(stderr, "description %d is still %s\n", i, description[i].is_open ? "open" : "held by a page");
            idle = false;
        }
    }
    for (int i = 0; i < REGIONS; i++) {
        if (region[i].used) {
            fprintf(stderr, "%llu bytes are still mapped\n", (unsigned long long)region[i].bytes);
            idle = false;
        }
    }
    return idle;
}

/* A descriptor that is open, as an index. */
static int known(int fd)
{
    const int i = fd - FIRST_DESCRIPTOR;
    if (i < 0 || i >= DESCRIPTIONS || !description[i].is_open)
        violation("a descriptor that isn't open", (uint64_t)fd);
    return i;
}

/* --- the clock, waiting, and what needs no state ---------------------------------------------------------------- */

uint64_t ipcr_os_now_ns(void) { return clock_ns += CLOCK_STEP_NS; }

void ipcr_os_sleep_ns(uint64_t ns)
{
    clock_ns += ns;
    if (++sleeps > MOST_SLEEPS)
        violation("sleeps without end", sleeps);
}

int ipcr_os_futex_wait(ipcr_word32 *word, uint32_t expected, uint64_t deadline_ns)
{
    if (++sleeps > MOST_SLEEPS)
        violation("sleeps without end", sleeps);
    if (watch_asleep()) /* as if a signal had come */
        return IPCR_AGAIN;
    if (*word == expected && clock_ns < deadline_ns)
        clock_ns = deadline_ns;
    return IPCR_OK;
}

void ipcr_os_futex_wake(ipcr_word32 *word, int n) { (void)word; (void)n; }
uint32_t ipcr_os_pid(void) { return 4711; }
uint32_t ipcr_os_user(void) { return USER; }
uint64_t ipcr_os_time_namespace(void) { return 1; }
uint64_t ipcr_os_page_bytes(void) { return page(); }
bool ipcr_os_membarrier_register(void) { return true; }
bool ipcr_os_membarrier(void) { return true; }

uint32_t ipcr_os_cpus(uint32_t *only)
{
    *only = 0;
    return 2;
}

int ipcr_os_random(void *out, size_t n)
{
    memset(out, 'r', n);
    return IPCR_OK;
}

/* --- files ------------------------------------------------------------------------------------------------------ */

static int make(bool named, int *fd)
{
    kernel_make_file(NULL, 0, named);
    return new_descriptor(fd);
}

int ipcr_os_memfd(const char *label, int *fd)
{
    (void)label;
    return make(false, fd);
}

int ipcr_os_open_nameless(const char *dir, int *fd)
{
    (void)dir;
    return make(false, fd);
}

int ipcr_os_seal(int fd) { return known(fd) >= 0 ? IPCR_OK : IPCR_FROM_ERRNO(EBADF); }

int ipcr_os_open_exclusive(const char *dir, const char *name, int *fd)
{
    (void)dir;
    (void)name;
    if (file.exists && file.named)
        return IPCR_FROM_ERRNO(EEXIST);
    return make(true, fd);
}

int ipcr_os_open(const char *dir, const char *name, int *fd)
{
    (void)dir;
    (void)name;
    if (!file.exists || !file.named)
        return IPCR_FROM_ERRNO(ENOENT);
    return new_descriptor(fd);
}

int ipcr_os_reopen(int fd, struct ipcr_file_id id, int *fresh)
{
    known(fd);
    return id.inode == file.number ? new_descriptor(fresh) : IPCR_FROM_ERRNO(EBADF);
}

int ipcr_os_link(int fd, const char *dir, const char *name)
{
    (void)dir;
    (void)name;
    known(fd);
    if (file.named)
        return IPCR_FROM_ERRNO(EEXIST);
    file.named = true;
    return IPCR_OK;
}

int ipcr_os_rename_new(const char *dir, const char *from, const char *to)
{
    (void)dir;
    (void)from;
    (void)to;
    violation("a rename: O_TMPFILE works here", 0);
}

int ipcr_os_unlink(const char *dir, const char *name)
{
    (void)dir;
    (void)name;
    if (!file.exists || !file.named)
        return IPCR_FROM_ERRNO(ENOENT);
    file.named = false;
    return IPCR_OK;
}

int ipcr_os_allocate(int fd, uint64_t bytes)
{
    known(fd);
    if (bytes > kernel_most_bytes())
        return IPCR_FROM_ERRNO(ENOSPC);
    file.size = bytes > file.size ? bytes : file.size;
    return IPCR_OK;
}

/* Of queues, which this target does not run yet. */
int ipcr_os_set_size(int fd, uint64_t bytes) { return ipcr_os_allocate(fd, bytes); }
int ipcr_os_allocate_range(int fd, uint64_t offset, uint64_t bytes) { return ipcr_os_allocate(fd, offset + bytes); }

int ipcr_os_facts(int fd, struct ipcr_file_facts *out)
{
    known(fd);
    *out = (struct ipcr_file_facts){ .id = { .inode = file.number }, .size = file.size, .owner = USER, .mode = 0600,
                                     .links = file.named, .regular = true };
    return IPCR_OK;
}

int ipcr_os_named(const char *dir, const char *name, struct ipcr_file_id *out)
{
    (void)dir;
    (void)name;
    if (!file.exists || !file.named)
        return IPCR_FROM_ERRNO(ENOENT);
    *out = (struct ipcr_file_id){ .inode = file.number };
    return IPCR_OK;
}

static void put(int i) { description[i].users--; }

void ipcr_os_close(int fd)
{
    if (fd < 0)
        return;
    const int i = known(fd);
    description[i].is_open = false;
    put(i);
}

/* --- lock bytes ------------------------------------------------------------------------------------------------- */

static int place_of(int64_t byte)
{
    static const int64_t known_bytes[BYTES] = { IPCR_LOCK_PRESENCE, IPCR_LOCK_NAME,       IPCR_LOCK_CLAIM(0),
                                                IPCR_LOCK_CLAIM(1), IPCR_LOCK_ROLE(0), IPCR_LOCK_ROLE(1) };
    for (int i = 0; i < BYTES; i++)
        if (known_bytes[i] == byte)
            return i;
    violation("no lock byte", (uint64_t)byte);
}

static bool in_the_way(int self, int place, bool exclusive)
{
    for (int i = 0; i < DESCRIPTIONS; i++) {
        const uint8_t lock = description[i].users != 0 && i != self ? description[i].lock[place] : 0;
        if (lock == 'w' || (lock == 'r' && exclusive))
            return true;
    }
    return false;
}

int ipcr_os_lock(int fd, int64_t byte, bool exclusive)
{
    const int i = known(fd), place = place_of(byte);
    if (in_the_way(i, place, exclusive))
        return IPCR_TAKEN;
    description[i].lock[place] = exclusive ? 'w' : 'r';
    return IPCR_OK;
}

int ipcr_os_locked(int fd, int64_t byte, bool *locked)
{
    *locked = in_the_way(known(fd), place_of(byte), true);
    return IPCR_OK;
}

/* --- mappings --------------------------------------------------------------------------------------------------- */

static int region_of(const uint8_t *at)
{
    for (int i = 0; i < REGIONS; i++)
        if (region[i].used && at >= region[i].at && at < region[i].at + region[i].bytes)
            return i;
    violation("memory that isn't mapped", 0);
}

static int new_region(uint64_t bytes, bool read_only)
{
    for (int i = 0; i < REGIONS; i++) {
        if (region[i].at == NULL) {
            region[i].at = reserve(bytes + 2 * GUARD) + GUARD;
            region[i].bytes = bytes;
            region[i].read_only = read_only;
        }
        if (!region[i].used && region[i].bytes == bytes && region[i].read_only == read_only) {
            region[i].used = true;
            __asan_poison_memory_region(region[i].at, bytes);
            return i;
        }
    }
    violation("mappings leak", REGIONS);
}

bool kernel_offset(const void *where, uint64_t *offset)
{
    const uint8_t *at = where;
    for (int i = 0; i < REGIONS && region[i].at != NULL; i++) {
        if (!region[i].used || at < region[i].at || at >= region[i].at + region[i].bytes)
            continue;
        const uint64_t from = (uint64_t)(at - region[i].at), once = page() + (region[i].bytes - page()) / 2;
        *offset = from < once ? from : from - (once - page());
        return true;
    }
    return false;
}

int ipcr_os_reserve(uint64_t bytes, uint8_t **at)
{
    if (bytes > 2 * kernel_most_bytes())
        violation("reserves more than twice the largest file", bytes);
    *at = region[new_region(bytes, false)].at;
    return IPCR_OK;
}

/* The part that a region shows first is the header with the data; the second time the data again. */
int ipcr_os_map(uint8_t *at, int fd, uint64_t offset, uint64_t bytes)
{
    known(fd);
    const int i = region_of(at);
    if (offset + bytes > file.size || at + bytes > region[i].at + region[i].bytes)
        violation("maps more than there is", offset + bytes);
    if (!region[i].mapped) {
        void *p = mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file.memfd, (off_t)offset);
        if (p == MAP_FAILED)
            violation("the fuzzer itself can't map", bytes);
        region[i].mapped = offset != 0;
    }
    if (watch_is_off())
        __asan_unpoison_memory_region(at, bytes);
    else if (offset == 0)
        __asan_unpoison_memory_region(at, sizeof(struct ipcr_header));
    return IPCR_OK;
}

int ipcr_os_map_read_only(int fd, uint64_t bytes, const uint8_t **at)
{
    known(fd);
    const int i = new_region(page(), true);
    if (bytes > page() || bytes > file.size)
        violation("maps more than there is", bytes);
    if (!region[i].mapped) {
        if (mmap(region[i].at, page(), PROT_READ, MAP_SHARED | MAP_FIXED, file.memfd, 0) == MAP_FAILED)
            violation("the fuzzer itself can't map", bytes);
        region[i].mapped = true;
    }
    __asan_unpoison_memory_region(region[i].at, bytes);
    *at = region[i].at;
    return IPCR_OK;
}

int ipcr_os_map_hold(int fd, void **where)
{
    const int i = known(fd);
    description[i].users++;
    *where = hold_pages + (uint64_t)i * page();
    return IPCR_OK;
}

void ipcr_os_unmap(const void *where, uint64_t bytes)
{
    const uint8_t *at = where;
    if (at == NULL)
        return;
    if (at >= hold_pages && at < hold_pages + DESCRIPTIONS * page()) {
        put((int)((uint64_t)(at - hold_pages) / page()));
        return;
    }
    const int i = region_of(at);
    if (at != region[i].at || (bytes != region[i].bytes && !region[i].read_only))
        violation("unmaps a piece", bytes);
    region[i].used = false;
    __asan_poison_memory_region(region[i].at, region[i].bytes); /* whoever still uses it is found */
}

int ipcr_os_end_with(int fd, int exit_code)
{
    (void)fd;
    (void)exit_code;
    return IPCR_OK;
}
