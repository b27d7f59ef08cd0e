/* stock.h - what a process has at one moment, and what its segments' lock bytes say; see stock.c. */
#ifndef IPCR_TESTS_STOCK_H
#define IPCR_TESTS_STOCK_H

#include "check.h"

enum { MOST_NAMES = 8 };

struct stock {
    int descriptors;
    int shared_mappings;
    uint64_t reserved_bytes; /* mapped, and not accessible */
    long heap_blocks;
    int names; /* in the directory of segments */
    struct {
        char name[64];
        uint64_t inode;
        unsigned held; /* one bit per lock byte that somebody holds */
    } name[MOST_NAMES];
};

void stock_take(struct stock *out, const char *dir);

enum stock_names {
    SAME_FILES,  /* each name leads to the same inode, with the same bytes held */
    FEWER_FILES, /* the same, and some may be gone */
    SAME_NAMES,  /* what they lead to may have been made anew */
};

/* A leak: says what, and ends the program. */
void stock_compare(const struct stock *before, const struct stock *now, enum stock_names names);

#endif
