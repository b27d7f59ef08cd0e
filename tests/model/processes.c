/* processes.c - a copy of the core, with statics of its own, for each process; and an arena for what it allocates.
 *
 * A schedule may end with a process dead in the middle of a call: lists half linked, mutexes held.  So the writable
 * segments of the copies and the arena are put back before the next one, as they were after the set-up.
 */
#include "machine.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>


struct core model_core[PROCESSES];

static struct {
    uint8_t *at;
    size_t bytes;
    uint8_t loaded[WRITABLE], saved[WRITABLE];
} writable[PROCESSES];
static _Alignas(64) uint8_t arena[ARENA], saved_arena[ARENA];
static size_t arena_used, saved_arena_used;
static const char *core_path;

static noreturn void die(const char *what)
{
    fprintf(stderr, "explorer: %s: %s\n", what, dlerror());
    exit(2);
}

/* The file under a name of its own: the loader would otherwise hand out the first copy again. */
static void *load_copy(const char *path)
{
    char name[64];
    struct stat facts;
    const int from = open(path, O_RDONLY | O_CLOEXEC), to = memfd_create("core", MFD_CLOEXEC);
    if (from < 0 || to < 0 || fstat(from, &facts) != 0 ||
        sendfile(to, from, NULL, (size_t)facts.st_size) != facts.st_size)
        die(path);
    close(from);
    snprintf(name, sizeof name, "/proc/self/fd/%d", to); /* stays open: the number is part of the name */
    void *handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL)
        die(path);
    return handle;
}

static int find_writable(struct dl_phdr_info *info, size_t size, void *found)
{
    const int process = *(int *)found;
    const struct link_map *map = (const struct link_map *)((void **)found)[1];
    (void)size;
    if (info->dlpi_addr != map->l_addr)
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD && (info->dlpi_phdr[i].p_flags & PF_W) != 0) {
            writable[process].at = (uint8_t *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
            writable[process].bytes = info->dlpi_phdr[i].p_memsz;
        }
    return 1;
}

void model_processes_start(const char *core)
{
    core_path = core;
    for (int i = 0; i < PROCESSES; i++) {
        void *handle = load_copy(core);
        void *wanted[2] = { NULL, NULL };
        memcpy(&wanted[0], &i, sizeof i);
        if (dlinfo(handle, RTLD_DI_LINKMAP, &wanted[1]) != 0 || dl_iterate_phdr(find_writable, wanted) != 1 ||
            writable[i].bytes == 0 || writable[i].bytes > WRITABLE)
            die("no writable segment");
        memcpy(writable[i].loaded, writable[i].at, writable[i].bytes);
#define MODEL_FIND(name)                                                                                               \
    if ((model_core[i].name = (__typeof__(model_core[i].name))dlsym(handle, "ipcr_" #name)) == NULL)                   \
        die("ipcr_" #name);
        MODEL_CALLS(MODEL_FIND)
    }
}

void model_processes_reset(void)
{
    for (int i = 0; i < PROCESSES; i++)
        memcpy(writable[i].at, writable[i].loaded, writable[i].bytes);
    arena_used = 0;
}

void model_processes_save(void)
{
    for (int i = 0; i < PROCESSES; i++)
        memcpy(writable[i].saved, writable[i].at, writable[i].bytes);
    memcpy(saved_arena, arena, arena_used);
    saved_arena_used = arena_used;
}

void model_processes_restore(void)
{
    for (int i = 0; i < PROCESSES; i++)
        memcpy(writable[i].at, writable[i].saved, writable[i].bytes);
    memcpy(arena, saved_arena, saved_arena_used);
    arena_used = saved_arena_used;
}

/* Its size stands before it. */
void *model_allocate(size_t n)
{
    const size_t at = arena_used;
    arena_used += 64 + (n + 63) / 64 * 64;
    if (arena_used > ARENA)
        model_limit("the scenario allocates more than %d bytes", ARENA);
    memcpy(arena + at, &n, sizeof n);
    return arena + at + 64;
}

/* Never used again in this schedule, so that whoever still touches it is found. */
void model_free(void *p)
{
    size_t n;
    if (p == NULL)
        return;
    memcpy(&n, (uint8_t *)p - 64, sizeof n);
    model_check_free(p, n);
}

int model_private(const void *address)
{
    const uint8_t *at = address;
    if (at >= arena && at < arena + ARENA)
        return (int)(at - arena);
    for (int i = 0; i < PROCESSES; i++)
        if (at >= writable[i].at && at < writable[i].at + writable[i].bytes)
            return ARENA + i * WRITABLE + (int)(at - writable[i].at);
    return -1;
}

/* By addr2line, where there is one. */
const char *model_line_of(const void *code)
{
    static char line[200];
    char command[400];
    Dl_info info;
    if (dladdr(code, &info) == 0)
        return "?";
    const size_t offset = (size_t)((const uint8_t *)code - (const uint8_t *)info.dli_fbase) - 1;
    snprintf(line, sizeof line, "core+0x%zx", offset);
    snprintf(command, sizeof command, "addr2line -e '%s' 0x%zx 2>/dev/null", core_path, offset);
    FILE *answer = popen(command, "re");
    char said[sizeof line];
    if (answer != NULL && fgets(said, sizeof said, answer) != NULL && said[0] != '?') {
        const char *name = strrchr(said, '/');
        snprintf(line, sizeof line, "%s", name == NULL ? said : name + 1);
        line[strcspn(line, "\n ")] = '\0';
    }
    if (answer != NULL)
        pclose(answer);
    return line;
}

int model_new_mutex(pthread_mutex_t *mutex)
{
    model_store(mutex, 4, 0, MODEL_RELAXED, "mutex", 0);
    return 0;
}

/* Nobody may be at it. */
void model_old_mutex(pthread_mutex_t *mutex)
{
    if (model_exchange(mutex, 4, 1, MODEL_ACQ_REL, "mutex", 0) != 0)
        model_fail("a mutex is destroyed that is locked");
}

/* A mutex is one word of the core's, which holds 1 while it is locked; unlocking orders, as a release. */
void model_lock(pthread_mutex_t *mutex)
{
    while (model_exchange(mutex, 4, 1, MODEL_ACQ_REL, "mutex", 0) != 0)
        model_block(mutex, UINT64_MAX);
}

void model_unlock(pthread_mutex_t *mutex)
{
    model_store(mutex, 4, 0, MODEL_RELEASE, "mutex", 0);
    model_wake(mutex, 1);
}

uint64_t model_this_thread(void) { return (uint64_t)model_running + 1; }
