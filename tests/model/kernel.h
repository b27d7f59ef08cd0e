/* kernel.h - the tables of the small kernel, for kernel.c and kernel_os.c. */
#ifndef MODEL_KERNEL_H
#define MODEL_KERNEL_H

#include "machine.h"

enum {
    INODES = 8,
    INODE_BYTES = 65536,
    DESCRIPTIONS = 48,
    DESCRIPTORS = 48,
    FIRST_DESCRIPTOR = 100,
    NAMES = 4,
    MAPPINGS = 64,
    LOCKS = 48,
    PAGE = 4096,
};

struct inode {
    bool used;
    int links;
    uint64_t size;
    uint32_t reserved; /* pages that have memory, a bit for each */
};
_Static_assert(INODE_BYTES / PAGE <= 32, "a bit for each page");

struct description {
    int inode; /* -1: free */
    int references;
};

struct descriptor {
    bool used;
    int process, description;
};

struct mapping {
    bool used, hold;
    int process, inode, description;
    uint8_t *at;
    uint64_t bytes, offset;
};

struct lock {
    bool used, exclusive;
    int description, inode;
    int64_t byte;
};

/* Everything that a schedule may change, but the inodes' bytes. */
struct kernel {
    struct inode inodes[INODES];
    struct description descriptions[DESCRIPTIONS];
    struct descriptor descriptors[DESCRIPTORS];
    struct mapping mappings[MAPPINGS];
    struct lock locks[LOCKS];
    struct {
        bool used;
        char text[48];
        int inode;
    } names[NAMES];
    uint64_t random;
    bool registered[PROCESSES];
};
extern struct kernel model_kernel;

extern uint8_t *model_bytes_of[INODES]; /* always mapped; also what a futex's sleepers are found by */
int model_file_of(int inode);

static inline int model_here(void) { return model_self()->process; }

/* One step, before which others may run. */
void model_step(const char *what, int64_t argument);
/* Calls that take the same lock in the kernel order what their callers know. */
void model_exchange_knowledge(struct knowledge *kept);
extern struct knowledge model_known_to_locks[INODES], model_known_to_names;

struct descriptor *model_descriptor(int fd);
int model_inode_of(int fd);
int model_new_descriptor(int inode, int *fd);
int model_new_inode(int links, int *fd);
struct mapping *model_new_mapping(void);
void model_let_go(int description);

#endif
