/* kernel.c - a small kernel: what a schedule may change in it, and putting that back.
 *
 * Inodes are memory that stays mapped for all schedules; names, descriptors, descriptions and lock bytes are tables.
 * The calls are in kernel_os.c.
 */
#include "kernel.h"

#include "os.h"
#include "status.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

struct kernel model_kernel;
static struct kernel saved;
struct knowledge model_known_to_locks[INODES], model_known_to_names; /* by whoever takes such a lock in the kernel */
static struct knowledge known_to_passed;
static int files[INODES];
uint8_t *model_bytes_of[INODES];
static uint8_t saved_bytes[INODES][INODE_BYTES];

void model_kernel_start(void)
{
    for (int i = 0; i < INODES; i++) {
        files[i] = memfd_create("explorer", MFD_CLOEXEC);
        if (files[i] < 0 || ftruncate(files[i], INODE_BYTES) != 0)
            abort();
        model_bytes_of[i] = mmap(NULL, INODE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, files[i], 0);
        if (model_bytes_of[i] == MAP_FAILED)
            abort();
    }
}

/* From scratch, before a scenario sets up. */
void model_kernel_reset(void)
{
    for (int i = 0; i < MAPPINGS; i++)
        if (model_kernel.mappings[i].used && !model_kernel.mappings[i].hold)
            munmap(model_kernel.mappings[i].at, model_kernel.mappings[i].bytes);
    memset(&model_kernel, 0, sizeof model_kernel);
    for (int i = 0; i < DESCRIPTIONS; i++)
        model_kernel.descriptions[i].inode = -1;
    for (int i = 0; i < INODES; i++)
        memset(model_bytes_of[i], 0, INODE_BYTES);
}

void model_kernel_save(void)
{
    saved = model_kernel;
    for (int i = 0; i < INODES; i++)
        memcpy(saved_bytes[i], model_bytes_of[i], INODE_BYTES);
}

/* What was mapped since goes; what was unmapped since is still there: see ipcr_os_unmap. */
void model_kernel_restore(void)
{
    for (int i = 0; i < MAPPINGS; i++) {
        const struct mapping *m = &model_kernel.mappings[i], *s = &saved.mappings[i];
        if (m->at != NULL && !m->hold && m->at != s->at)
            munmap(m->at, m->bytes);
    }
    for (int i = 0; i < INODES; i++) /* a file never shrinks, and has nothing behind its end */
        if (model_kernel.inodes[i].used)
            memcpy(model_bytes_of[i], saved_bytes[i], model_kernel.inodes[i].size);
    model_kernel = saved;
    memset(model_known_to_locks, 0, sizeof model_known_to_locks);
    memset(&model_known_to_names, 0, sizeof model_known_to_names);
    memset(&known_to_passed, 0, sizeof known_to_passed);
}

int model_names(void)
{
    int n = 0;
    for (int i = 0; i < NAMES; i++)
        n += model_kernel.names[i].used;
    return n;
}

const char *model_name(int n)
{
    return n < NAMES && model_kernel.names[n].used ? model_kernel.names[n].text : NULL;
}

/* Somebody can still reach it: a name, a descriptor, a mapping. */
static bool is_held(int inode)
{
    bool held = model_kernel.inodes[inode].links > 0;
    for (int i = 0; i < DESCRIPTIONS; i++)
        held = held || model_kernel.descriptions[i].inode == inode;
    for (int i = 0; i < MAPPINGS; i++)
        held = held || (model_kernel.mappings[i].used && model_kernel.mappings[i].inode == inode);
    return held;
}

int model_files(void)
{
    int n = 0;
    for (int i = 0; i < INODES; i++)
        n += model_kernel.inodes[i].used && is_held(i);
    return n;
}

int model_file_of(int inode) { return files[inode]; }

static bool leads(const struct mapping *m, const uint8_t *at)
{
    return !m->hold && m->at != NULL && at >= m->at && at < m->at + m->bytes && m->inode >= 0;
}

/* Why memory may not be touched; NULL: it may. */
static struct place find_place(const void *address, const char **why_not)
{
    static uint8_t found_before[64]; /* mapping by page: the same are asked for again and again */
    const uint8_t *at = address;
    const struct place private = { -1, (uint64_t)(uintptr_t)address, UINT64_MAX };
    if (model_private(address) >= 0)
        return private;
    uint8_t *before = &found_before[(uintptr_t)at / PAGE % 64];
    for (int i = -1; i < MAPPINGS; i++) {
        const struct mapping *m = &model_kernel.mappings[i < 0 ? *before : i];
        if (!leads(m, at))
            continue;
        *before = (uint8_t)(m - model_kernel.mappings);
        const uint64_t behind = (uint64_t)(at - m->at), offset = m->offset + behind;
        if (!m->used)
            *why_not = "was unmapped";
        else if ((model_kernel.inodes[m->inode].reserved >> offset / PAGE & 1) == 0)
            *why_not = "nobody has reserved: a SIGBUS, on a full file system";
        return (struct place){ m->inode, offset, m->bytes - behind };
    }
    return private;
}

struct place model_place(const void *address)
{
    const char *why_not = NULL;
    const struct place place = find_place(address, &why_not);
    if (why_not != NULL)
        model_fail("memory is touched that %s", why_not);
    return place;
}

struct place model_place_once(const void *address)
{
    const char *why_not;
    return find_place(address, &why_not);
}

/* --- steps ---------------------------------------------------------------------------------------------------- */

void model_step(const char *what, int64_t argument)
{
    model_yield();
    model_note(what, NULL, (uint64_t)argument, " (system call)", "", 0);
}

/* What we do from now on is not part of what we passed on. */
void model_exchange_knowledge(struct knowledge *kept)
{
    model_join(&model_self()->knows, kept);
    model_join(kept, &model_self()->knows);
    model_self()->knows.clock[model_running]++;
}

/* --- descriptors ---------------------------------------------------------------------------------------------- */

void model_let_go(int description)
{
    struct description *d = &model_kernel.descriptions[description];
    if (--d->references != 0)
        return;
    for (int i = 0; i < LOCKS; i++)
        if (model_kernel.locks[i].used && model_kernel.locks[i].description == description)
            model_kernel.locks[i].used = false;
    d->inode = -1;
}

int model_new_descriptor(int inode, int *fd)
{
    for (int d = 0; d < DESCRIPTIONS; d++) {
        if (model_kernel.descriptions[d].inode >= 0)
            continue;
        for (int i = 0; i < DESCRIPTORS; i++)
            if (!model_kernel.descriptors[i].used) {
                model_kernel.descriptions[d] = (struct description){ inode, 1 };
                model_kernel.descriptors[i] = (struct descriptor){ true, model_here(), d };
                *fd = FIRST_DESCRIPTOR + i;
                return IPCR_OK;
            }
    }
    return IPCR_FROM_ERRNO(EMFILE);
}

struct descriptor *model_descriptor(int fd)
{
    const int i = fd - FIRST_DESCRIPTOR;
    if (i < 0 || i >= DESCRIPTORS || !model_kernel.descriptors[i].used ||
        model_kernel.descriptors[i].process != model_here())
        model_fail("descriptor %d is used, which this process doesn't have", fd);
    return &model_kernel.descriptors[i];
}

int model_inode_of(int fd) { return model_kernel.descriptions[model_descriptor(fd)->description].inode; }

int model_new_inode(int links, int *fd)
{
    for (int i = 0; i < INODES; i++)
        if (!model_kernel.inodes[i].used) {
            model_kernel.inodes[i] = (struct inode){ true, links, 0, 0 };
            memset(model_bytes_of[i], 0, INODE_BYTES);
            return model_new_descriptor(i, fd);
        }
    model_limit("the scenario makes more than %d files", INODES);
}

static int free_descriptor(void)
{
    for (int i = 0; i < DESCRIPTORS; i++)
        if (!model_kernel.descriptors[i].used)
            return i;
    model_limit("the scenario needs more than %d descriptors", DESCRIPTORS);
}

int model_pass(int fd, int process)
{
    const int description = model_descriptor(fd)->description, i = free_descriptor();
    model_kernel.descriptions[description].references++;
    model_kernel.descriptors[i] = (struct descriptor){ true, process, description };
    model_exchange_knowledge(&known_to_passed);
    return FIRST_DESCRIPTOR + i;
}

void model_got(void) { model_exchange_knowledge(&known_to_passed); }

void model_kernel_bury(int process)
{
    /* what the dead did is visible to whoever sees that they are dead */
    for (int i = 0; i < INODES; i++)
        for (int f = 1; f < FIBERS; f++)
            if (model_fibers[f].process == process)
                model_join(&model_known_to_locks[i], &model_fibers[f].knows);
    for (int i = 0; i < DESCRIPTORS; i++)
        if (model_kernel.descriptors[i].used && model_kernel.descriptors[i].process == process) {
            model_kernel.descriptors[i].used = false;
            model_let_go(model_kernel.descriptors[i].description);
        }
    for (int i = 0; i < MAPPINGS; i++)
        if (model_kernel.mappings[i].used && model_kernel.mappings[i].process == process) {
            model_kernel.mappings[i].used = false;
            if (model_kernel.mappings[i].hold)
                model_let_go(model_kernel.mappings[i].description);
        }
}

/* --- mappings ------------------------------------------------------------------------------------------------- */

struct mapping *model_new_mapping(void)
{
    for (int i = 0; i < MAPPINGS; i++)
        if (model_kernel.mappings[i].at == NULL)
            return &model_kernel.mappings[i];
    model_limit("the scenario needs more than %d mappings", MAPPINGS);
}
