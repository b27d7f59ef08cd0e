/* stock.c - accounting: descriptors, mappings, heap, names, and locks.
 *
 * A lock lives as long as a descriptor or a mapping of its description, so those that this process has are counted
 * with the descriptors and the shared mappings.  What others hold (and we, through what is left) the probes tell, on
 * each byte of each name's inode.
 */
#include "stock.h"
#include "heap.h"

#include <dirent.h>

static int count_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;
    CHECK(d != NULL);
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

static void count_mappings(struct stock *out)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    CHECK(maps != NULL);
    while (fgets(line, sizeof line, maps) != NULL) {
        uint64_t from, upto, inode;
        char access[5];
        CHECK(sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %*x %*s %" SCNu64, &from, &upto, access, &inode) == 4);
        if (access[3] == 's')
            out->shared_mappings++;
        if (strcmp(access, "---p") == 0 && inode == 0)
            out->reserved_bytes += upto - from;
    }
    fclose(maps);
}

_Static_assert(IPCR_LOCK_LANE(0) == IPCR_LOCK_SUBSCRIBER(0), "no segment has both");

static unsigned probe_all(const char *dir, const char *name)
{
    const int64_t bytes[] = { IPCR_LOCK_PRESENCE,         IPCR_LOCK_NAME,
                              IPCR_LOCK_ROLE(IPCR_SENDER),  IPCR_LOCK_ROLE(IPCR_RECEIVER),
                              IPCR_LOCK_CLAIM(IPCR_SENDER), IPCR_LOCK_CLAIM(IPCR_RECEIVER),
                              IPCR_LOCK_SUBSCRIBER(0),      IPCR_LOCK_SUBSCRIBER(1), /* or lanes: the same bytes */
                              IPCR_LOCK_HOLDER(0),          IPCR_LOCK_HOLDER(1) };
    unsigned held = 0;
    int fd;
    CHECK_IS(ipcr_os_open(dir, name, &fd), IPCR_OK);
    for (unsigned i = 0; i < sizeof bytes / sizeof bytes[0]; i++) {
        bool locked;
        CHECK_IS(ipcr_os_locked(fd, bytes[i], &locked), IPCR_OK);
        held |= (unsigned)locked << i;
    }
    ipcr_os_close(fd);
    return held;
}

void stock_take(struct stock *out, const char *dir)
{
    *out = (struct stock){ .heap_blocks = heap_alive() };
    out->descriptors = count_descriptors();
    count_mappings(out);
    DIR *d = opendir(dir);
    CHECK(d != NULL);
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        CHECK(out->names < MOST_NAMES);
        snprintf(out->name[out->names].name, sizeof out->name[0].name, "%.63s", e->d_name);
        out->name[out->names].inode = (uint64_t)e->d_ino;
        out->name[out->names++].held = probe_all(dir, e->d_name);
    }
    closedir(d);
}

void stock_compare(const struct stock *before, const struct stock *now, enum stock_names names)
{
    CHECK_IS(now->descriptors, before->descriptors);
    CHECK_IS(now->shared_mappings, before->shared_mappings);
    CHECK_IS(now->reserved_bytes, before->reserved_bytes);
    CHECK_IS(now->heap_blocks, before->heap_blocks);
    if (names != FEWER_FILES)
        CHECK_IS(now->names, before->names);
    for (int i = 0; i < now->names; i++) {
        bool known = false;
        for (int k = 0; k < before->names && !known; k++) {
            known = (names == SAME_NAMES || before->name[k].inode == now->name[i].inode) &&
                    strcmp(before->name[k].name, now->name[i].name) == 0;
            if (known)
                CHECK_IS(now->name[i].held, before->name[k].held);
        }
        if (!known)
            check_failed(now->name[i].name, 0, "a name that was not there, or leads elsewhere");
    }
}
