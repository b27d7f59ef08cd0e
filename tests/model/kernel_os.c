/* kernel_os.c - the back end of native/os.h.
 *
 * Each call is one step, before which others may run.  Calls that take a lock in the kernel order what their callers
 * know: locks and unlocks of a byte, links and look-ups of a name.
 */
#include "kernel.h"

#include "os.h"
#include "status.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

bool model_membarrier_works, model_membarrier_holes;
bool model_signals;     /* a sleep may end early */
bool model_no_nameless; /* no O_TMPFILE */

void ipcr_os_close(int fd)
{
    if (fd < 0)
        return;
    model_step("close", fd);
    struct descriptor *d = model_descriptor(fd);
    model_exchange_knowledge(&model_known_to_locks[model_kernel.descriptions[d->description].inode]);
    d->used = false;
    model_let_go(d->description);
}

/* --- names ---------------------------------------------------------------------------------------------------- */

static int find(const char *name)
{
    for (int i = 0; i < NAMES; i++)
        if (model_kernel.names[i].used && strcmp(model_kernel.names[i].text, name) == 0)
            return i;
    return -1;
}

static int add_name(const char *name, int inode)
{
    for (int i = 0; i < NAMES; i++)
        if (!model_kernel.names[i].used) {
            model_kernel.names[i].used = true;
            model_kernel.names[i].inode = inode;
            snprintf(model_kernel.names[i].text, sizeof model_kernel.names[i].text, "%s", name);
            model_kernel.inodes[inode].links++;
            return IPCR_OK;
        }
    return IPCR_FROM_ERRNO(ENOSPC);
}

int ipcr_os_memfd(const char *label, int *fd)
{
    (void)label;
    model_step("memfd", 0);
    return model_new_inode(0, fd);
}

int ipcr_os_seal(int fd)
{
    (void)model_inode_of(fd);
    return IPCR_OK;
}

int ipcr_os_open_nameless(const char *dir, int *fd)
{
    (void)dir;
    model_step("open nameless", 0);
    if (model_no_nameless)
        return IPCR_FROM_ERRNO(EOPNOTSUPP);
    return model_new_inode(0, fd);
}

int ipcr_os_open_exclusive(const char *dir, const char *name, int *fd)
{
    (void)dir;
    model_step("open exclusive", 0);
    model_exchange_knowledge(&model_known_to_names);
    if (find(name) >= 0)
        return IPCR_FROM_ERRNO(EEXIST);
    const int rc = model_new_inode(0, fd);
    return rc == IPCR_OK ? add_name(name, model_inode_of(*fd)) : rc;
}

int ipcr_os_open(const char *dir, const char *name, int *fd)
{
    (void)dir;
    model_step("open", 0);
    model_exchange_knowledge(&model_known_to_names);
    const int at = find(name);
    return at < 0 ? IPCR_FROM_ERRNO(ENOENT) : model_new_descriptor(model_kernel.names[at].inode, fd);
}

int ipcr_os_reopen(int fd, struct ipcr_file_id id, int *fresh)
{
    model_step("reopen", fd);
    const int inode = model_inode_of(fd);
    return (uint64_t)inode + 1 == id.inode ? model_new_descriptor(inode, fresh) : IPCR_FROM_ERRNO(EBADF);
}

int ipcr_os_link(int fd, const char *dir, const char *name)
{
    (void)dir;
    model_step("link", fd);
    model_exchange_knowledge(&model_known_to_names);
    return find(name) >= 0 ? IPCR_FROM_ERRNO(EEXIST) : add_name(name, model_inode_of(fd));
}

int ipcr_os_rename_new(const char *dir, const char *from, const char *to)
{
    (void)dir;
    model_step("rename", 0);
    model_exchange_knowledge(&model_known_to_names);
    const int at = find(from);
    if (at < 0)
        return IPCR_FROM_ERRNO(ENOENT);
    if (find(to) >= 0)
        return IPCR_FROM_ERRNO(EEXIST);
    snprintf(model_kernel.names[at].text, sizeof model_kernel.names[at].text, "%s", to);
    return IPCR_OK;
}

int ipcr_os_unlink(const char *dir, const char *name)
{
    (void)dir;
    model_step("unlink", 0);
    model_exchange_knowledge(&model_known_to_names);
    const int at = find(name);
    if (at < 0)
        return IPCR_FROM_ERRNO(ENOENT);
    model_kernel.names[at].used = false;
    model_kernel.inodes[model_kernel.names[at].inode].links--;
    return IPCR_OK;
}

int ipcr_os_named(const char *dir, const char *name, struct ipcr_file_id *out)
{
    (void)dir;
    model_step("look up", 0);
    model_exchange_knowledge(&model_known_to_names);
    const int at = find(name);
    if (at < 0)
        return IPCR_FROM_ERRNO(ENOENT);
    *out = (struct ipcr_file_id){ 1, (uint64_t)model_kernel.names[at].inode + 1 };
    return IPCR_OK;
}

static void reserve(struct inode *inode, uint64_t offset, uint64_t bytes)
{
    for (uint64_t page = offset / PAGE; page * PAGE < offset + bytes; page++)
        inode->reserved |= 1u << page;
}

int ipcr_os_allocate(int fd, uint64_t bytes)
{
    struct inode *inode = &model_kernel.inodes[model_inode_of(fd)];
    if (bytes > INODE_BYTES)
        return IPCR_FROM_ERRNO(ENOSPC);
    inode->size = bytes;
    reserve(inode, 0, bytes);
    return IPCR_OK;
}

int ipcr_os_set_size(int fd, uint64_t bytes)
{
    struct inode *inode = &model_kernel.inodes[model_inode_of(fd)];
    if (bytes > INODE_BYTES)
        return IPCR_FROM_ERRNO(ENOSPC);
    inode->size = bytes;
    return IPCR_OK;
}

int ipcr_os_allocate_range(int fd, uint64_t offset, uint64_t bytes)
{
    model_step("allocate", (int64_t)offset);
    struct inode *inode = &model_kernel.inodes[model_inode_of(fd)];
    if (offset + bytes > inode->size)
        return IPCR_FROM_ERRNO(ENOSPC);
    reserve(inode, offset, bytes);
    return IPCR_OK;
}

int ipcr_os_facts(int fd, struct ipcr_file_facts *out)
{
    const int i = model_inode_of(fd);
    *out = (struct ipcr_file_facts){ .id = { 1, (uint64_t)i + 1 }, .size = model_kernel.inodes[i].size, .owner = 1,
                                     .mode = 0600, .links = (uint32_t)model_kernel.inodes[i].links, .regular = true };
    return IPCR_OK;
}

/* --- locks ---------------------------------------------------------------------------------------------------- */

static bool in_the_way(int description, int64_t byte, bool exclusive)
{
    for (int i = 0; i < LOCKS; i++) {
        const struct lock *lock = &model_kernel.locks[i];
        if (lock->used && lock->byte == byte && lock->inode == model_kernel.descriptions[description].inode &&
            lock->description != description && (exclusive || lock->exclusive))
            return true;
    }
    return false;
}

int ipcr_os_lock(int fd, int64_t byte, bool exclusive)
{
    model_step(exclusive ? "lock" : "share lock", byte - (INT64_C(1) << 40));
    const int description = model_descriptor(fd)->description;
    model_exchange_knowledge(&model_known_to_locks[model_inode_of(fd)]);
    if (in_the_way(description, byte, exclusive))
        return IPCR_TAKEN;
    for (int i = 0; i < LOCKS; i++)
        if (!model_kernel.locks[i].used) {
            model_kernel.locks[i] = (struct lock){ true, exclusive, description, model_inode_of(fd), byte };
            return IPCR_OK;
        }
    model_limit("the scenario needs more than %d locks", LOCKS);
}

int ipcr_os_locked(int fd, int64_t byte, bool *locked)
{
    model_step("locked?", byte - (INT64_C(1) << 40));
    model_exchange_knowledge(&model_known_to_locks[model_inode_of(fd)]);
    *locked = in_the_way(model_descriptor(fd)->description, byte, true);
    return IPCR_OK;
}

/* --- mappings ------------------------------------------------------------------------------------------------- */

int ipcr_os_reserve(uint64_t bytes, uint8_t **at)
{
    *at = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return *at == MAP_FAILED ? IPCR_FROM_ERRNO(errno) : IPCR_OK;
}

int ipcr_os_map(uint8_t *at, int fd, uint64_t offset, uint64_t bytes)
{
    const int inode = model_inode_of(fd);
    const int flags = MAP_SHARED | MAP_FIXED;
    if (mmap(at, bytes, PROT_READ | PROT_WRITE, flags, model_file_of(inode), (off_t)offset) == MAP_FAILED)
        return IPCR_FROM_ERRNO(errno);
    *model_new_mapping() = (struct mapping){ true, false, model_here(), inode, -1, at, bytes, offset };
    return IPCR_OK;
}

int ipcr_os_map_read_only(int fd, uint64_t bytes, const uint8_t **at)
{
    uint8_t *found;
    const uint64_t whole = (bytes + PAGE - 1) / PAGE * PAGE;
    int rc = ipcr_os_reserve(whole, &found);
    if (rc == IPCR_OK)
        rc = ipcr_os_map(found, fd, 0, whole);
    *at = found;
    return rc;
}

/* Not a real page: nothing ever touches it. */
int ipcr_os_map_hold(int fd, void **page)
{
    static uint8_t pages[MAPPINGS];
    model_step("map hold", fd);
    struct mapping *m = model_new_mapping();
    const int description = model_descriptor(fd)->description;
    model_kernel.descriptions[description].references++;
    *m = (struct mapping){ true, true, model_here(), -1, description, &pages[m - model_kernel.mappings], 1, 0 };
    *page = m->at;
    return IPCR_OK;
}

/* The pages stay where they are until the next schedule, so that whoever touches them is told. */
void ipcr_os_unmap(const void *at, uint64_t bytes)
{
    if (at == NULL)
        return;
    model_step("unmap", 0);
    for (int i = 0; i < MAPPINGS; i++) {
        struct mapping *m = &model_kernel.mappings[i];
        const uint8_t *first = at;
        const bool covered = m->hold ? m->at == first : m->at >= first && m->at < first + bytes;
        if (!m->used || !covered || m->process != model_here())
            continue;
        m->used = false;
        if (m->hold) {
            model_exchange_knowledge(&model_known_to_locks[model_kernel.descriptions[m->description].inode]);
            model_let_go(m->description);
            m->at = NULL;
        }
    }
}

/* --- waiting -------------------------------------------------------------------------------------------------- */

/* As the kernel does: a full fence, a look at the word, and into the queue, which a waker can't come between. */
int ipcr_os_futex_wait(ipcr_word32 *word, uint32_t expected, uint64_t deadline_ns)
{
    model_step("futex wait", 0);
    model_full_fence(model_self());
    if (word->now != expected)
        return IPCR_OK;
    if (deadline_ns <= model_now)
        return IPCR_OK;
    if (model_signals && model_choose(CHOOSE_HAZARD, 2) == 1)
        return IPCR_AGAIN;
    const struct place place = model_place(word);
    model_block(model_bytes_of[place.inode] + place.offset, deadline_ns);
    return IPCR_OK;
}

void ipcr_os_futex_wake(ipcr_word32 *word, int n)
{
    model_step("futex wake", n);
    model_full_fence(model_self());
    const struct place place = model_place(word);
    model_wake(model_bytes_of[place.inode] + place.offset, n);
}

bool ipcr_os_membarrier_register(void)
{
    if (model_membarrier_works && model_here() >= 0)
        model_kernel.registered[model_here()] = true;
    return model_membarrier_works;
}

bool ipcr_os_membarrier(void)
{
    if (model_running == STAGE)
        return model_membarrier_works;
    model_step("membarrier", 0);
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
uint32_t ipcr_os_pid(void) { return (uint32_t)model_here() + 1; }
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
        ((uint8_t *)out)[i] = (uint8_t)++model_kernel.random;
    return IPCR_OK;
}

int ipcr_os_end_with(int fd, int exit_code)
{
    (void)fd;
    (void)exit_code;
    return IPCR_FROM_ERRNO(ENOSYS);
}
