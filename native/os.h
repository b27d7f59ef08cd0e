/* os.h - the only door to system calls: the second seam (beside atomics.h) that a model checker or a
 * fault injector replaces.  Failures come back as IPCR_FROM_ERRNO(errno). */
#ifndef IPCR_OS_H
#define IPCR_OS_H

#include "atomics.h"

#include <stdbool.h>
#include <sys/types.h>

/* An inode, however it is named or numbered. */
struct ipcr_file_id {
    uint64_t device;
    uint64_t inode;
};

struct ipcr_file_facts {
    struct ipcr_file_id id;
    uint64_t size;
    uint32_t owner;
    uint32_t mode; /* permission bits only */
    uint32_t links;
    bool regular;
};

uint64_t ipcr_os_now_ns(void); /* CLOCK_MONOTONIC; nothing here ever reads the wall clock */
void ipcr_os_sleep_ns(uint64_t ns);
uint32_t ipcr_os_pid(void);
uint32_t ipcr_os_user(void);
uint64_t ipcr_os_time_namespace(void); /* 0 when it can't be told */
uint64_t ipcr_os_page_bytes(void);
/* CPUs this thread may run on; *only is 1 + its number when there is just one, else 0. */
uint32_t ipcr_os_cpus(uint32_t *only);
int ipcr_os_random(void *out, size_t n);

/* Sleep while *word == expected, until woken, a signal, or the deadline.  Spurious returns happen:
 * every return means "look again".  Returns IPCR_OK, or IPCR_AGAIN for a signal. */
int ipcr_os_futex_wait(ipcr_word32 *word, uint32_t expected, uint64_t deadline_ns);
void ipcr_os_futex_wake(ipcr_word32 *word, int n);

bool ipcr_os_membarrier_register(void);
bool ipcr_os_membarrier(void);

/* Files.  All descriptors are close-on-exec. */
int ipcr_os_memfd(const char *label, int *fd);
int ipcr_os_seal(int fd); /* the size is final, and so is this decision */
int ipcr_os_open_nameless(const char *dir, int *fd); /* O_TMPFILE; EOPNOTSUPP where missing */
int ipcr_os_open_exclusive(const char *dir, const char *name, int *fd);
int ipcr_os_open(const char *dir, const char *name, int *fd);
int ipcr_os_reopen(int fd, struct ipcr_file_id id, int *fresh); /* a new description of the same inode */
int ipcr_os_link(int fd, const char *dir, const char *name);
int ipcr_os_rename_new(const char *dir, const char *from, const char *to); /* fails if `to` exists */
int ipcr_os_unlink(const char *dir, const char *name);
int ipcr_os_allocate(int fd, uint64_t bytes); /* the file's first bytes: all of it, or nothing */
int ipcr_os_set_size(int fd, uint64_t bytes); /* reserves no memory */
int ipcr_os_allocate_range(int fd, uint64_t offset, uint64_t bytes);
int ipcr_os_facts(int fd, struct ipcr_file_facts *out);
int ipcr_os_named(const char *dir, const char *name, struct ipcr_file_id *out);
void ipcr_os_close(int fd);

static inline bool ipcr_same_file(struct ipcr_file_id a, struct ipcr_file_id b)
{
    return a.device == b.device && a.inode == b.inode;
}

/* Lock bytes of open file descriptions (F_OFD_*). */
int ipcr_os_lock(int fd, int64_t byte, bool exclusive); /* IPCR_TAKEN when somebody is in the way */
/* Whether some other description holds a lock on the byte that an exclusive one would meet. */
int ipcr_os_locked(int fd, int64_t byte, bool *locked);

/* Mappings. */
int ipcr_os_reserve(uint64_t bytes, uint8_t **at);
int ipcr_os_map(uint8_t *at, int fd, uint64_t offset, uint64_t bytes);
int ipcr_os_map_read_only(int fd, uint64_t bytes, const uint8_t **at);
int ipcr_os_map_hold(int fd, void **page); /* one PROT_NONE page that a forked child doesn't get */
void ipcr_os_unmap(const void *at, uint64_t bytes);

/* End this process as soon as the other side of the descriptor is gone.  Runs in its own thread that
 * never touches Python, so that a child stuck in a long native call ends as well. */
int ipcr_os_end_with(int fd, int exit_code);

#endif
