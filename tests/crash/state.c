/* state.c - see state.h. */
#include "state.h"
#include "lanes.h"
#include "naming.h"

#include <dirent.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* --- looking -------------------------------------------------------------------------------------------------- */

static void add_file(struct state *state, int fd, const char *name)
{
    struct ipcr_file_facts facts;
    CHECK(state->count < MOST_FILES && strlen(name) < sizeof state->files[0].name);
    CHECK_IS(ipcr_os_facts(fd, &facts), IPCR_OK);
    struct file *f = &state->files[state->count++];
    *f = (struct file){ .id = facts.id, .fd = fd, .bytes = facts.size };
    strcpy(f->name, name);
    if (f->bytes == 0)
        return;
    f->now = mmap(NULL, f->bytes, PROT_READ, MAP_SHARED, fd, 0);
    f->then = malloc(f->bytes);
    CHECK(f->now != MAP_FAILED && f->then != NULL);
    memcpy(f->then, f->now, f->bytes);
}

static void forget_files(struct state *state)
{
    for (int i = 0; i < state->count; i++) {
        struct file *f = &state->files[i];
        ipcr_os_unmap(f->now, f->bytes);
        free(f->then);
        close(f->fd);
    }
    state->count = 0;
}

/* struct linux_dirent64, which no header has. */
struct listed {
    uint64_t inode;
    int64_t offset;
    unsigned short length;
    unsigned char type;
    char name[];
};

static void gather(struct state *state, const struct stage *s)
{
    bool named = false;
    forget_files(state);
    for (long at = 0; at < state->listed;) {
        const struct listed *entry = (const struct listed *)(const void *)(state->listing + at);
        at += entry->length;
        if (strcmp(entry->name, ".") == 0 || strcmp(entry->name, "..") == 0)
            continue;
        const int fd = openat(state->directory, entry->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        CHECK(fd >= 0);
        add_file(state, fd, entry->name);
        named = named || (s->segment != NULL && ipcr_same_file(state->files[state->count - 1].id, s->segment->id));
    }
    if (s->segment != NULL && !named) {
        int fd;
        CHECK_IS(ipcr_os_reopen(s->segment->fd, s->segment->id, &fd), IPCR_OK);
        add_file(state, fd, "");
    }
}

/* The directory's entries into state->listing; whether they are others than before. */
static bool list(struct state *state)
{
    _Alignas(8) char listing[LISTING_ROOM] = { 0 }; /* the kernel leaves the padding of entries alone */
    CHECK(lseek(state->directory, 0, SEEK_SET) == 0);
    const long n = syscall(SYS_getdents64, state->directory, listing, sizeof listing);
    CHECK(n > 0);
    if (n == state->listed && memcmp(listing, state->listing, (size_t)n) == 0)
        return false;
    memcpy(state->listing, listing, (size_t)n);
    state->listed = n;
    return true;
}

void state_begin(struct state *state, const struct stage *s)
{
    *state = (struct state){ .directory = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) };
    CHECK(state->directory >= 0);
    list(state);
    gather(state, s);
}

static bool file_changed(struct file *f)
{
    struct stat st;
    CHECK(fstat(f->fd, &st) == 0);
    if ((uint64_t)st.st_size != f->bytes)
        return true; /* gathered anew */
    if (f->bytes == 0 || memcmp(f->then, f->now, f->bytes) == 0)
        return false;
    memcpy(f->then, f->now, f->bytes);
    return true;
}

bool state_look(struct state *state, const struct stage *s)
{
    bool changed = list(state), resized = changed;
    for (int i = 0; i < state->count && !resized; i++) {
        struct stat st;
        CHECK(fstat(state->files[i].fd, &st) == 0);
        resized = (uint64_t)st.st_size != state->files[i].bytes;
    }
    if (resized)
        gather(state, s);
    for (int i = 0; i < state->count; i++)
        changed = file_changed(&state->files[i]) || changed;
    return changed || resized;
}

static uint64_t hash_bytes(uint64_t hash, const uint8_t *at, uint64_t n)
{
    uint64_t word;
    for (; n >= 8; at += 8, n -= 8) {
        memcpy(&word, at, 8);
        hash = (hash ^ word) * UINT64_C(0x9fb21c651e98df25);
        hash ^= hash >> 29;
    }
    for (; n > 0; at++, n--)
        hash = (hash ^ *at) * UINT64_C(0x100000001b3);
    return hash;
}

uint64_t state_hash(const struct state *state, const struct stage *s)
{
    uint64_t hash = mixed(s->peer_acts * 4 + (load_acquire32(&s->between->phase) == RETURNED));
    for (int i = 0; i < state->count; i++) {
        const struct file *f = &state->files[i];
        hash = hash_bytes(hash, (const uint8_t *)f->name, sizeof f->name);
        hash = hash_bytes(mixed(hash ^ f->bytes), f->then, f->bytes);
    }
    return hash | 1; /* 0 is an empty slot */
}

void state_end(struct state *state)
{
    forget_files(state);
    close(state->directory);
}

bool seen_first(struct seen *seen, uint64_t hash)
{
    if (2 * seen->count >= seen->room) {
        struct seen larger = { .room = seen->room == 0 ? 1024 : 4 * seen->room };
        larger.slots = calloc(larger.room, sizeof *larger.slots);
        CHECK(larger.slots != NULL);
        for (size_t i = 0; i < seen->room; i++)
            if (seen->slots[i] != 0)
                seen_first(&larger, seen->slots[i]);
        free(seen->slots);
        *seen = larger;
    }
    size_t at = hash % seen->room;
    for (; seen->slots[at] != 0; at = (at + 1) % seen->room)
        if (seen->slots[at] == hash)
            return false;
    seen->slots[at] = hash;
    seen->count++;
    return true;
}

void seen_end(struct seen *seen)
{
    free(seen->slots);
    *seen = (struct seen){ .count = 0 };
}

/* --- copies --------------------------------------------------------------------------------------------------- */

static int copy_file(const struct file *f, const char *copy_dir)
{
    int fd;
    if (f->name[0] != 0)
        CHECK_IS(ipcr_os_open_exclusive(copy_dir, f->name, &fd), IPCR_OK);
    else
        CHECK_IS(ipcr_os_memfd("ipc:copy", &fd), IPCR_OK);
    if (f->bytes != 0) {
        CHECK_IS(ipcr_os_allocate(fd, f->bytes), IPCR_OK);
        CHECK(pwrite(fd, f->then, f->bytes, 0) == (ssize_t)f->bytes);
    }
    return fd;
}

static void lead_ring_to(struct ipcr_segment *segment, int fd)
{
    uint8_t *base = (uint8_t *)segment->header;
    CHECK_IS(ipcr_os_map(base, fd, 0, segment->header_bytes + segment->capacity), IPCR_OK);
    CHECK_IS(ipcr_os_map(segment->data + segment->capacity, fd, segment->header_bytes, segment->capacity), IPCR_OK);
}

static void lead_lanes_to(struct ipcr_segment *segment, int fd)
{
    const uint64_t bytes = ipcr_lane_footprint(segment->options.slots, segment->capacity);
    CHECK_IS(ipcr_os_map((uint8_t *)segment->header, fd, 0, segment->header_bytes), IPCR_OK);
    for (uint32_t i = 0; i < segment->lanes; i++) {
        const struct ipcr_lane *lane = &segment->lane[i];
        const uint64_t offset = segment->header_bytes + i * bytes;
        if (load_acquire32(&lane->mapped) == 0)
            continue;
        CHECK_IS(ipcr_os_map((uint8_t *)lane->slots, fd, offset, bytes), IPCR_OK);
        CHECK_IS(ipcr_os_map(lane->data + segment->capacity, fd, offset + bytes - segment->capacity,
                             segment->capacity),
                 IPCR_OK);
    }
}

/* The handle goes on, at the same addresses, over another inode: whatever points into the mapping, and all that
 * the living remember, stays as it is. */
static void lead_to(struct ipcr_segment *segment, int fd)
{
    struct ipcr_file_facts facts;
    CHECK_IS(ipcr_os_facts(fd, &facts), IPCR_OK);
    (segment->lane != NULL ? lead_lanes_to : lead_ring_to)(segment, fd);
    CHECK(dup3(fd, segment->fd, O_CLOEXEC) == segment->fd);
    segment->id = facts.id;
}

static void hold_again(struct stage *s)
{
    for (int i = 0; i < s->living_count; i++)
        CHECK_IS(ipcr_hold_take(s->living[i].hold, s->segment->fd, s->segment->id, &s->living[i].byte, 1), IPCR_OK);
}

static int nameless_copy = -1; /* of a state that nobody lives to hold; this process checks one at a time */

void copy_enter(struct stage *s, const struct state *state, const char *copy_dir, bool with_living)
{
    CHECK(mkdir(copy_dir, 0700) == 0);
    strcpy(s->dir, copy_dir);
    s->all_died = !with_living;
    nameless_copy = -1;
    for (int i = 0; i < state->count; i++) {
        const struct file *f = &state->files[i];
        const int fd = copy_file(f, copy_dir);
        const bool theirs = s->segment != NULL && ipcr_same_file(f->id, s->segment->id);
        if (theirs && with_living) {
            lead_to(s->segment, fd);
            if (s->segment->dir != NULL)
                s->segment->dir = strdup(s->dir); /* the handle frees its own */
            hold_again(s);
        }
        if (f->name[0] == 0 && !with_living)
            nameless_copy = fd;
        else
            close(fd);
    }
    if (!with_living) {
        s->segment = NULL;
        s->peer = NULL;
    }
}

struct ipcr_segment *segment_of_copy(struct stage *s)
{
    if (s->segment == NULL) {
        CHECK(nameless_copy >= 0);
        CHECK_IS(ipcr_segment_attach(nameless_copy, NULL, "ipc:copy", 0, true, &s->segment), IPCR_OK);
    }
    return s->segment;
}

int names_in(const char *dir)
{
    int count = 0;
    DIR *stream = opendir(dir);
    CHECK(stream != NULL);
    for (const struct dirent *entry = readdir(stream); entry != NULL; entry = readdir(stream))
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(stream);
    return count;
}

void copy_remove(const char *copy_dir)
{
    DIR *stream = opendir(copy_dir);
    if (stream == NULL)
        return;
    for (const struct dirent *entry = readdir(stream); entry != NULL; entry = readdir(stream))
        unlinkat(dirfd(stream), entry->d_name, 0);
    closedir(stream);
    rmdir(copy_dir);
}
