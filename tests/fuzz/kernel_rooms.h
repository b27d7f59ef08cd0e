/* kernel_rooms.h - what the files behind kernel.h know of each other: the only inode, its descriptions, time. */
#ifndef IPCR_TESTS_FUZZ_KERNEL_ROOMS_H
#define IPCR_TESTS_FUZZ_KERNEL_ROOMS_H

#include "kernel.h"
#include "os.h"

enum { DESCRIPTIONS = 64, LOCKS_OF_ONE = 4, FIRST_DESCRIPTOR = 1000 /* a real system call on one fails */ };

/* The only inode.  raw: all that it could ever have, mapped once. */
struct kernel_file {
    int memfd;
    uint8_t *raw;
    uint64_t most;   /* bytes */
    uint64_t size;
    uint64_t number; /* of its inode */
    bool exists, named;
};
extern struct kernel_file kernel_file;

/* users: how many descriptors (0 or 1) and hold pages lead to it. */
struct kernel_description {
    uint32_t users;
    struct {
        int64_t byte;
        char kind; /* 'r', 'w', or 0 */
    } lock[LOCKS_OF_ONE];
    bool is_open;
};
extern struct kernel_description kernel_description[DESCRIPTIONS];

int kernel_new_descriptor(int *fd);
int kernel_known(int fd);     /* a descriptor that is open, as an index */
void kernel_put(int index);   /* one user less */
void kernel_reset_time(void);

bool kernel_nothing_mapped(void);
uint8_t *kernel_reserve(uint64_t bytes); /* of the fuzzer's own address space */
uint64_t kernel_page(void);

#endif
