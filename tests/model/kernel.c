/* kernel.c - a small kernel: the back end of native/os.h.
 *
 * Inodes are memory that stays mapped for all schedules; names, descriptors, descriptions and lock bytes are tables.
 * Each call is one step, before which others may run.  Calls that take a lock in the kernel order what their callers
 * know: locks and unlocks of a byte, links and look-ups of a name.
 */
#include "machine.h"

#include "os.h"
#include "status.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#undef malloc
#undef free

enum {
    INODES = 4,
    INODE_BYTES = 16384,
    DESCRIPTIONS = 48,
    DESCRIPTORS = 48,
    FIRST_DESCRIPTOR = 100,
    NAMES = 4,
    MAPPINGS = 48,
    LOCKS = 48,
    PAGE = 4096,
};

struct inode {
    bool used;
    int links;
    uint64_t size;
};

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
static struct kernel {
    struct inode inodes[INODES];
    struct description descriptions[DESCRIPTIONS];
    struct descriptor descriptors[DESCRIPTORS];
    struct mapping mappings[MAPPINGS];
    struct lock locks[LOCKS];
    struct {
        bool used;
        char text[32];
        int inode;
    } names[NAMES];
    uint64_t random;
    bool registered[PROCESSES];
} now, saved;

static struct knowledge known_to_locks[INODES], known_to_names; /* by whoever takes such a lock in the kernel */
static int files[INODES];
static uint8_t *bytes_of[INODES], saved_bytes[INODES][INODE_BYTES];
bool model_membarrier_works, model_membarrier_holes;

void model_kernel_start(void)
{
    for (int i = 0; i < INODES; i++) {
        files[i] = memfd_create("explorer", MFD_CLOEXEC);
        if (files[i] < 0 || ftruncate(files[i], INODE_BYTES) != 0)
            abort();
        bytes_of[i] = mmap(NULL, INODE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, files[i], 0);
        if (bytes_of[i] == MAP_FAILED)
            abort();
    }
}

/* From scratch, before a scenario sets up. */
void model_kernel_reset(void)
{
    for (int i = 0; i < MAPPINGS; i++)
        if (now.mappings[i].used && !now.mappings[i].hold)
            munmap(now.mappings[i].at, now.mappings[i].bytes);
    memset(&now, 0, sizeof now);
    for (int i = 0; i < DESCRIPTIONS; i++)
        now.descriptions[i].inode = -1;
    for (int i = 0; i < INODES; i++)
        memset(bytes_of[i], 0, INODE_BYTES);
}

void model_kernel_save(void)
{
    saved = now;
    for (int i = 0; i < INODES; i++)
        memcpy(saved_bytes[i], bytes_of[i], INODE_BYTES);
}

/* What was mapped since goes; what was unmapped since is still there: see ipcr_os_unmap. */
void model_kernel_restore(void)
{
    for (int i = 0; i < MAPPINGS; i++) {
        const struct mapping *m = &now.mappings[i], *s = &saved.mappings[i];
        if (m->at != NULL && !m->hold && m->at != s->at)
            munmap(m->at, m->bytes);
    }
    for (int i = 0; i < INODES; i++)
        if (now.inodes[i].used)
            memcpy(bytes_of[i], saved_bytes[i], INODE_BYTES);
    now = saved;
    memset(known_to_locks, 0, sizeof known_to_locks);
    memset(&known_to_names, 0, sizeof known_to_names);
}

int model_names(void)
{
    int n = 0;
    for (int i = 0; i < NAMES; i++)
        n += now.names[i].used;
    return n;
}

struct place model_place(const void *address)
{
    const uint8_t *at = address;
    for (int i = 0; i < MAPPINGS; i++) {
        const struct mapping *m = &now.mappings[i];
        if (!m->hold && m->at != NULL && at >= m->at && at < m->at + m->bytes && m->inode >= 0) {
            if (!m->used)
                model_fail("memory is touched that was unmapped");
            const uint64_t behind = (uint64_t)(at - m->at);
            return (struct place){ m->inode, m->offset + behind, m->bytes - behind };
        }
    }
    return (struct place){ -1, (uint64_t)(uintptr_t)address, UINT64_MAX };
}

/* --- steps ---------------------------------------------------------------------------------------------------- */

static void step(const char *what, int64_t argument)
{
    model_yield();
    model_note(what, NULL, (uint64_t)argument, " (system call)", "", 0);
}

static void pass_on(struct knowledge *kept) { model_join(kept, &model_self()->knows); }

/* What we do from now on is not part of what we passed on. */
static void exchange(struct knowledge *kept)
{
    model_join(&model_self()->knows, kept);
    pass_on(kept);
    model_self()->knows.clock[model_running]++;
}

static int here(void) { return model_self()->process; }

/* --- descriptors ---------------------------------------------------------------------------------------------- */

static void let_go(int description)
{
    struct description *d = &now.descriptions[description];
    if (--d->references != 0)
        return;
    for (int i = 0; i < LOCKS; i++)
        if (now.locks[i].used && now.locks[i].description == description)
            now.locks[i].used = false;
    d->inode = -1;
}

static int new_descriptor(int inode, int *fd)
{
    for (int d = 0; d < DESCRIPTIONS; d++) {
        if (now.descriptions[d].inode >= 0)
            continue;
        for (int i = 0; i < DESCRIPTORS; i++)
            if (!now.descriptors[i].used) {
                now.descriptions[d] = (struct description){ inode, 1 };
                now.descriptors[i] = (struct descriptor){ true, here(), d };
                *fd = FIRST_DESCRIPTOR + i;
                return IPCR_OK;
            }
    }
    return IPCR_FROM_ERRNO(EMFILE);
}

static struct descriptor *descriptor(int fd)
{
    const int i = fd - FIRST_DESCRIPTOR;
    if (i < 0 || i >= DESCRIPTORS || !now.descriptors[i].used || now.descriptors[i].process != here())
        model_fail("descriptor %d is used, which this process doesn't have", fd);
    return &now.descriptors[i];
}

static int inode_of(int fd) { return now.descriptions[descriptor(fd)->description].inode; }

static int new_inode(int links, int *fd)
{
    for (int i = 0; i < INODES; i++)
        if (!now.inodes[i].used) {
            now.inodes[i] = (struct inode){ true, links, 0 };
            memset(bytes_of[i], 0, INODE_BYTES);
            return new_descriptor(i, fd);
        }
    model_fail("the scenario makes more than %d files", INODES);
}

void ipcr_os_close(int fd)
{
    if (fd < 0)
        return;
    step("close", fd);
    struct descriptor *d = descriptor(fd);
    exchange(&known_to_locks[now.descriptions[d->description].inode]);
    d->used = false;
    let_go(d->description);
}

void model_kernel_bury(int process)
{
    /* what the dead did is visible to whoever sees that they are dead */
    for (int i = 0; i < INODES; i++)
        for (int f = 1; f < FIBERS; f++)
            if (model_fibers[f].process == process)
                model_join(&known_to_locks[i], &model_fibers[f].knows);
    for (int i = 0; i < DESCRIPTORS; i++)
        if (now.descriptors[i].used && now.descriptors[i].process == process) {
            now.descriptors[i].used = false;
            let_go(now.descriptors[i].description);
        }
    for (int i = 0; i < MAPPINGS; i++)
        if (now.mappings[i].used && now.mappings[i].process == process) {
            now.mappings[i].used = false;
            if (now.mappings[i].hold)
                let_go(now.mappings[i].description);
        }
}

/* --- names ---------------------------------------------------------------------------------------------------- */

static int find(const char *name)
{
    for (int i = 0; i < NAMES; i++)
        if (now.names[i].used && strcmp(now.names[i].text, name) == 0)
            return i;
    return -1;
}

static int add_name(const char *name, int inode)
{
    for (int i = 0; i < NAMES; i++)
        if (!now.names[i].used) {
            now.names[i].used = true;
            now.names[i].inode = inode;
            snprintf(now.names[i].text, sizeof now.names[i].text, "%s", name);
            now.inodes[inode].links++;
            return IPCR_OK;
        }
    return IPCR_FROM_ERRNO(ENOSPC);
}

int ipcr_os_memfd(const char *label, int *fd)
{
    (void)label;
    step("memfd", 0);
    return new_inode(0, fd);
}

int ipcr_os_seal(int fd)
{
    (void)inode_of(fd);
    return IPCR_OK;
}

int ipcr_os_open_nameless(const char *dir, int *fd)
{
    (void)dir;
    step("open nameless", 0);
    return new_inode(0, fd);
}

int ipcr_os_open_exclusive(const char *dir, const char *name, int *fd)
{
    (void)dir;
    step("open exclusive", 0);
    exchange(&known_to_names);
    if (find(name) >= 0)
        return IPCR_FROM_ERRNO(EEXIST);
    const int rc = new_inode(0, fd);
    return rc == IPCR_OK ? add_name(name, inode_of(*fd)) : rc;
}

int ipcr_os_open(const char *dir, const char *name, int *fd)
{
    (void)dir;
    step("open", 0);
    exchange(&known_to_names);
    const int at = find(name);
    return at < 0 ? IPCR_FROM_ERRNO(ENOENT) : new_descriptor(now.names[at].inode, fd);
}

int ipcr_os_reopen(int fd, struct ipcr_file_id id, int *fresh)
{
    step("reopen", fd);
    const int inode = inode_of(fd);
    return (uint64_t)inode + 1 == id.inode ? new_descriptor(inode, fresh) : IPCR_FROM_ERRNO(EBADF);
}

int ipcr_os_link(int fd, const char *dir, const char *name)
{
    (void)dir;
    step("link", fd);
    exchange(&known_to_names);
    return find(name) >= 0 ? IPCR_FROM_ERRNO(EEXIST) : add_name(name, inode_of(fd));
}

int ipcr_os_rename_new(const char *dir, const char *from, const char *to)
{
    (void)dir;
    step("rename", 0);
    exchange(&known_to_names);
    const int at = find(from);
    if (at < 0)
        return IPCR_FROM_ERRNO(ENOENT);
    if (find(to) >= 0)
        return IPCR_FROM_ERRNO(EEXIST);
    snprintf(now.names[at].text, sizeof now.names[at].text, "%s", to);
    return IPCR_OK;
}

int ipcr_os_unlink(const char *dir, const char *name)
{
    (void)dir;
    step("unlink", 0);
    exchange(&known_to_names);
    const int at = find(name);
    if (at < 0)
        return IPCR_FROM_ERRNO(ENOENT);
    now.names[at].used = false;
    now.inodes[now.names[at].inode].links--;
    return IPCR_OK;
}

int ipcr_os_named(const char *dir, const char *name, struct ipcr_file_id *out)
{
    (void)dir;
    step("look up", 0);
    exchange(&known_to_names);
    const int at = find(name);
    if (at < 0)
        return IPCR_FROM_ERRNO(ENOENT);
    *out = (struct ipcr_file_id){ 1, (uint64_t)now.names[at].inode + 1 };
    return IPCR_OK;
}

int ipcr_os_allocate(int fd, uint64_t bytes)
{
    struct inode *inode = &now.inodes[inode_of(fd)];
    if (bytes > INODE_BYTES)
        return IPCR_FROM_ERRNO(ENOSPC);
    inode->size = bytes;
    return IPCR_OK;
}

int ipcr_os_facts(int fd, struct ipcr_file_facts *out)
{
    const int i = inode_of(fd);
    *out = (struct ipcr_file_facts){ .id = { 1, (uint64_t)i + 1 }, .size = now.inodes[i].size, .owner = 1,
                                     .mode = 0600, .links = (uint32_t)now.inodes[i].links, .regular = true };
    return IPCR_OK;
}

/* --- locks ---------------------------------------------------------------------------------------------------- */

static bool in_the_way(int description, int64_t byte, bool exclusive)
{
    for (int i = 0; i < LOCKS; i++) {
        const struct lock *lock = &now.locks[i];
        if (lock->used && lock->byte == byte && lock->inode == now.descriptions[description].inode &&
            lock->description != description && (exclusive || lock->exclusive))
            return true;
    }
    return false;
}

int ipcr_os_lock(int fd, int64_t byte, bool exclusive)
{
    step(exclusive ? "lock" : "share lock", byte - (INT64_C(1) << 40));
    const int description = descriptor(fd)->description;
    exchange(&known_to_locks[inode_of(fd)]);
    if (in_the_way(description, byte, exclusive))
        return IPCR_TAKEN;
    for (int i = 0; i < LOCKS; i++)
        if (!now.locks[i].used) {
            now.locks[i] = (struct lock){ true, exclusive, description, inode_of(fd), byte };
            return IPCR_OK;
        }
    model_fail("the scenario needs more than %d locks", LOCKS);
}

int ipcr_os_locked(int fd, int64_t byte, bool *locked)
{
    step("locked?", byte - (INT64_C(1) << 40));
    exchange(&known_to_locks[inode_of(fd)]);
    *locked = in_the_way(descriptor(fd)->description, byte, true);
    return IPCR_OK;
}

/* --- mappings ------------------------------------------------------------------------------------------------- */

static struct mapping *new_mapping(void)
{
    for (int i = 0; i < MAPPINGS; i++)
        if (now.mappings[i].at == NULL)
            return &now.mappings[i];
    model_fail("the scenario needs more than %d mappings", MAPPINGS);
}

int ipcr_os_reserve(uint64_t bytes, uint8_t **at)
{
    *at = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return *at == MAP_FAILED ? IPCR_FROM_ERRNO(errno) : IPCR_OK;
}

int ipcr_os_map(uint8_t *at, int fd, uint64_t offset, uint64_t bytes)
{
    const int inode = inode_of(fd);
    if (mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, files[inode], (off_t)offset) == MAP_FAILED)
        return IPCR_FROM_ERRNO(errno);
    *new_mapping() = (struct mapping){ true, false, here(), inode, -1, at, bytes, offset };
    return IPCR_OK;
}

int ipcr_os_map_read_only(int fd, uint64_t bytes, const uint8_t **at)
{
    uint8_t *found;
    int rc = ipcr_os_reserve(PAGE, &found);
    (void)bytes;
    if (rc == IPCR_OK)
        rc = ipcr_os_map(found, fd, 0, PAGE);
    *at = found;
    return rc;
}

/* Not a real page: nothing ever touches it. */
int ipcr_os_map_hold(int fd, void **page)
{
    static uint8_t pages[MAPPINGS];
    step("map hold", fd);
    struct mapping *m = new_mapping();
    const int description = descriptor(fd)->description;
    now.descriptions[description].references++;
    *m = (struct mapping){ true, true, here(), -1, description, &pages[m - now.mappings], 1, 0 };
    *page = m->at;
    return IPCR_OK;
}

/* The pages stay where they are until the next schedule, so that whoever touches them is told. */
void ipcr_os_unmap(const void *at, uint64_t bytes)
{
    if (at == NULL)
        return;
    step("unmap", 0);
    for (int i = 0; i < MAPPINGS; i++) {
        struct mapping *m = &now.mappings[i];
        const bool covered = m->hold ? m->at == at : m->at >= (const uint8_t *)at && m->at < (const uint8_t *)at + bytes;
        if (!m->used || !covered || m->process != here())
            continue;
        m->used = false;
        if (m->hold) {
            exchange(&known_to_locks[now.descriptions[m->description].inode]);
            let_go(m->description);
            m->at = NULL;
        }
    }
}

/* --- waiting -------------------------------------------------------------------------------------------------- */

bool model_signals; /* a sleep may end early */

/* As the kernel does: a full fence, a look at the word, and into the queue, which a waker can't come between. */
int ipcr_os_futex_wait(ipcr_word32 *word, uint32_t expected, uint64_t deadline_ns)
{
    step("futex wait", 0);
    model_full_fence(model_self());
    if (word->now != expected)
        return IPCR_OK;
    if (deadline_ns <= model_now)
        return IPCR_OK;
    if (model_signals && model_choose(CHOOSE_HAZARD, 2) == 1)
        return IPCR_AGAIN;
    const struct place place = model_place(word);
    model_block(bytes_of[place.inode] + place.offset, deadline_ns);
    return IPCR_OK;
}

void ipcr_os_futex_wake(ipcr_word32 *word, int n)
{
    step("futex wake", n);
    model_full_fence(model_self());
    const struct place place = model_place(word);
    model_wake(bytes_of[place.inode] + place.offset, n);
}

bool ipcr_os_membarrier_register(void)
{
    if (model_membarrier_works && here() >= 0)
        now.registered[here()] = true;
    return model_membarrier_works;
}

bool ipcr_os_membarrier(void)
{
    if (model_running == STAGE)
        return model_membarrier_works;
    step("membarrier", 0);
    if (model_membarrier_works && !(model_membarrier_holes && model_choose(CHOOSE_HAZARD, 2) == 1))
        model_barrier();
    return model_membarrier_works;
}

/* --- the rest ------------------------------------------------------------------------------------------------- */

uint64_t ipcr_os_now_ns(void) { return model_now; }
void ipcr_os_sleep_ns(uint64_t ns)
{
    if (model_running != STAGE)
        model_block(NULL, model_now + (ns < 1000000 ? ns : 1000000));
}
uint32_t ipcr_os_pid(void) { return (uint32_t)here() + 1; }
uint32_t ipcr_os_user(void) { return 1; }
uint64_t ipcr_os_time_namespace(void) { return 1; }
uint64_t ipcr_os_page_bytes(void) { return PAGE; }

uint32_t ipcr_os_cpus(uint32_t *only)
{
    *only = 0;
    return 2;
}

int ipcr_os_random(void *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)out)[i] = (uint8_t)++now.random;
    return IPCR_OK;
}

int ipcr_os_end_with(int fd, int exit_code)
{
    (void)fd;
    (void)exit_code;
    return IPCR_FROM_ERRNO(ENOSYS);
}
