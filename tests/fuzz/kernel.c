/* kernel.c - the back end of os.h: the only file, its descriptors, and what needs no state; see kernel.h. */
#include "kernel_rooms.h"
#include "status.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { USER = 1000 };

struct kernel_file kernel_file = { .memfd = -1 };
struct kernel_description kernel_description[DESCRIPTIONS];

void violation(const char *what, uint64_t value)
{
    fprintf(stderr, "VIOLATION: %s (%lld)\n", what, (long long)value);
    abort();
}

uint64_t kernel_page(void)
{
    static uint64_t bytes;
    if (bytes == 0)
        bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    return bytes;
}

uint64_t kernel_most_bytes(void) { return kernel_file.most; }
uint8_t *kernel_raw(void) { return kernel_file.raw; }

void kernel_reset(uint64_t pages)
{
    struct kernel_file *f = &kernel_file;
    if (f->memfd < 0) {
        f->most = pages * kernel_page();
        f->memfd = memfd_create("ipc:fuzz", MFD_CLOEXEC);
        if (f->memfd < 0 || ftruncate(f->memfd, (off_t)f->most) != 0)
            violation("the fuzzer itself has no file", 0);
        f->raw = mmap(NULL, f->most, PROT_READ | PROT_WRITE, MAP_SHARED, f->memfd, 0);
    }
    if (f->most != pages * kernel_page())
        violation("the fuzzer's own file is of another size", pages);
    memset(f->raw, 0, f->most);
    f->exists = false;
    f->size = 0;
    kernel_reset_time();
}

void kernel_make_file(const uint8_t *content, uint64_t bytes, bool named)
{
    kernel_file.exists = true;
    kernel_file.named = named;
    kernel_file.number++;
    kernel_file.size = bytes;
    if (bytes != 0)
        memcpy(kernel_file.raw, content, bytes);
}

int kernel_new_descriptor(int *fd)
{
    for (int i = 0; i < DESCRIPTIONS; i++) {
        if (kernel_description[i].users == 0) {
            memset(&kernel_description[i], 0, sizeof kernel_description[i]);
            kernel_description[i].users = 1;
            kernel_description[i].is_open = true;
            *fd = FIRST_DESCRIPTOR + i;
            return IPCR_OK;
        }
    }
    violation("descriptions leak", DESCRIPTIONS);
}

int kernel_open(void)
{
    int fd = -1;
    return kernel_file.exists && kernel_new_descriptor(&fd) == IPCR_OK ? fd : -1;
}

bool kernel_is_idle(void)
{
    bool idle = true;
    for (int i = 0; i < DESCRIPTIONS; i++) {
        if (kernel_description[i].users != 0) {
            fprintf(stderr, "description %d is still %s\n", i,
                    kernel_description[i].is_open ? "open" : "held by a page");
            idle = false;
        }
    }
    return kernel_nothing_mapped() && idle;
}

int kernel_known(int fd)
{
    const int i = fd - FIRST_DESCRIPTOR;
    if (i < 0 || i >= DESCRIPTIONS || !kernel_description[i].is_open)
        violation("a descriptor that isn't open", (uint64_t)fd);
    return i;
}

void kernel_put(int i) { kernel_description[i].users--; }

/* --- what needs no state ---------------------------------------------------------------------------------------- */

uint32_t ipcr_os_pid(void) { return 4711; }
uint32_t ipcr_os_user(void) { return USER; }
uint64_t ipcr_os_time_namespace(void) { return 1; }
uint64_t ipcr_os_page_bytes(void) { return kernel_page(); }
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

int ipcr_os_end_with(int fd, int exit_code)
{
    (void)fd;
    (void)exit_code;
    return IPCR_OK;
}

/* --- files ------------------------------------------------------------------------------------------------------ */

static int make(bool named, int *fd)
{
    kernel_make_file(NULL, 0, named);
    return kernel_new_descriptor(fd);
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

int ipcr_os_seal(int fd) { return kernel_known(fd) >= 0 ? IPCR_OK : IPCR_FROM_ERRNO(EBADF); }

int ipcr_os_open_exclusive(const char *dir, const char *name, int *fd)
{
    (void)dir;
    (void)name;
    if (kernel_file.exists && kernel_file.named)
        return IPCR_FROM_ERRNO(EEXIST);
    return make(true, fd);
}

int ipcr_os_open(const char *dir, const char *name, int *fd)
{
    (void)dir;
    (void)name;
    if (!kernel_file.exists || !kernel_file.named)
        return IPCR_FROM_ERRNO(ENOENT);
    return kernel_new_descriptor(fd);
}

int ipcr_os_reopen(int fd, struct ipcr_file_id id, int *fresh)
{
    kernel_known(fd);
    return id.inode == kernel_file.number ? kernel_new_descriptor(fresh) : IPCR_FROM_ERRNO(EBADF);
}

int ipcr_os_link(int fd, const char *dir, const char *name)
{
    (void)dir;
    (void)name;
    kernel_known(fd);
    if (kernel_file.named)
        return IPCR_FROM_ERRNO(EEXIST);
    kernel_file.named = true;
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
    if (!kernel_file.exists || !kernel_file.named)
        return IPCR_FROM_ERRNO(ENOENT);
    kernel_file.named = false;
    return IPCR_OK;
}

int ipcr_os_set_size(int fd, uint64_t bytes)
{
    kernel_known(fd);
    if (bytes > kernel_most_bytes())
        return IPCR_FROM_ERRNO(ENOSPC);
    kernel_file.size = bytes > kernel_file.size ? bytes : kernel_file.size;
    return IPCR_OK;
}

int ipcr_os_allocate(int fd, uint64_t bytes) { return ipcr_os_set_size(fd, bytes); }

/* Within the file: what a hostile word made larger would be a file that grows. */
int ipcr_os_allocate_range(int fd, uint64_t offset, uint64_t bytes)
{
    kernel_known(fd);
    if (offset > kernel_file.size || bytes > kernel_file.size - offset)
        violation("reserves memory behind the end of the file", offset + bytes);
    return IPCR_OK;
}

int ipcr_os_facts(int fd, struct ipcr_file_facts *out)
{
    kernel_known(fd);
    *out = (struct ipcr_file_facts){ .id = { .inode = kernel_file.number }, .size = kernel_file.size, .owner = USER, .mode = 0600,
                                     .links = kernel_file.named, .regular = true };
    return IPCR_OK;
}

int ipcr_os_named(const char *dir, const char *name, struct ipcr_file_id *out)
{
    (void)dir;
    (void)name;
    if (!kernel_file.exists || !kernel_file.named)
        return IPCR_FROM_ERRNO(ENOENT);
    *out = (struct ipcr_file_id){ .inode = kernel_file.number };
    return IPCR_OK;
}

void ipcr_os_close(int fd)
{
    if (fd < 0)
        return;
    const int i = kernel_known(fd);
    kernel_description[i].is_open = false;
    kernel_put(i);
}
