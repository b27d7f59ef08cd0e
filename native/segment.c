/* segment.c - create, attach, check, map; unlinking is in naming.c.
 *
 * Create, named:  O_TMPFILE, posix_fallocate, initialise, lock presence, link.  A kill before the link
 * leaves nothing; after it, a complete segment whose presence byte is free: an orphan.
 * Attach:         check the file, lock presence, then re-check that the name still leads to the inode;
 *                 otherwise somebody replaced it in between, and we start again.
 */
#include "segment.h"
#include "lanes.h"
#include "naming.h"
#include "registry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    CREATE_TRIES = 1000,    /* against others who create and vanish under the same name */
};

/* How much of the file is mapped in one piece; behind it the data follow a second time.  (Lanes: lanes.c.) */
static uint64_t first_piece(const struct ipcr_segment *s)
{
    return s->header_bytes + (ipcr_is_queue(s->kind) ? 0 : s->capacity);
}

static uint64_t mapped_bytes(const struct ipcr_segment *s)
{
    return first_piece(s) + (ipcr_is_queue(s->kind) ? 0 : s->capacity);
}

/* One reservation, so that no other mapping can slip between the copies. */
static int map_segment(struct ipcr_segment *s)
{
    uint8_t *base;
    const uint64_t all = mapped_bytes(s);
    int rc = ipcr_os_reserve(all, &base);
    if (rc != IPCR_OK)
        return rc;
    rc = ipcr_os_map(base, s->fd, 0, first_piece(s));
    if (rc == IPCR_OK && !ipcr_is_queue(s->kind))
        rc = ipcr_os_map(base + s->header_bytes + s->capacity, s->fd, s->header_bytes, s->capacity);
    if (rc != IPCR_OK) {
        ipcr_os_unmap(base, all);
        return rc;
    }
    s->header = (struct ipcr_header *)(void *)base;
    if (ipcr_is_queue(s->kind))
        return ipcr_lanes_open(s);
    s->data = base + s->header_bytes;
    return IPCR_OK;
}

static void unmap_segment(struct ipcr_segment *s)
{
    ipcr_lanes_close(s);
    ipcr_os_unmap(s->header, mapped_bytes(s));
    s->header = NULL;
    s->data = NULL;
}

static char *copy_text(const char *text)
{
    const size_t n = strlen(text) + 1;
    char *copy = malloc(n);
    if (copy != NULL)
        memcpy(copy, text, n);
    return copy;
}

static struct ipcr_segment *new_segment(const char *dir, const char *name)
{
    struct ipcr_segment *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->fd = -1;
    s->fork_fd = -1;
    s->users = 1;
    s->references = 1;
    if (dir != NULL) {
        s->dir = copy_text(dir);
        s->name = copy_text(name);
        if (s->dir == NULL || s->name == NULL) {
            free(s->dir);
            free(s->name);
            free(s);
            return NULL;
        }
    }
    return s;
}

/* A program that closed all descriptors may be using the number for a file of its own.  Where that can't be told
 * the number is open, and ours. */
static void close_own(const struct ipcr_segment *s)
{
    struct ipcr_file_facts facts = { .size = 0 };
    if (s->fd < 0)
        return;
    const int rc = ipcr_os_facts(s->fd, &facts);
    if (rc == IPCR_OK ? ipcr_same_file(facts.id, s->id) : rc != IPCR_FROM_ERRNO(EBADF))
        ipcr_os_close(s->fd);
}

static void discard_segment(struct ipcr_segment *s)
{
    ipcr_hold_drop(&s->presence);
    unmap_segment(s);
    close_own(s);
    free(s->dir);
    free(s->name);
    free(s);
}

/* Nobody else can see the segment yet: plain order is enough, the link (or the hand-over of the
 * descriptor) publishes. */
static int initialise(struct ipcr_segment *s)
{
    struct ipcr_geometry *g = &s->header->geometry;
    g->magic = IPCR_MAGIC;
    g->format_version = IPCR_FORMAT_VERSION;
    g->byte_order = IPCR_BYTE_ORDER;
    g->layout_hash = ipcr_kind_layout_hash(s->kind);
    g->kind = s->kind;
    g->flags = s->flags;
    g->header_bytes = s->header_bytes;
    g->capacity = s->capacity;
    g->total_bytes = ipcr_total_bytes(s->kind, s->capacity, s->lanes, s->options.slots);
    g->start_position = s->start_position;
    g->lanes = s->lanes;
    g->time_namespace = ipcr_os_time_namespace();
    g->creator_pid = ipcr_os_pid();
    const int rc = ipcr_os_random(s->uuid, sizeof s->uuid);
    if (rc != IPCR_OK)
        return rc;
    g->uuid[0] = s->uuid[0];
    g->uuid[1] = s->uuid[1];
    if (ipcr_is_queue(s->kind)) {
        ipcr_queue_header(s)->options = s->options;
        ipcr_lanes_initialise(s);
        return IPCR_OK;
    }
    if (s->kind == IPCR_KIND_MULTICAST) {
        struct ipcr_multicast_header *header = ipcr_multicast_header(s);
        header->options = s->multicast;
        store_relaxed64(&header->oldest, s->start_position);
        store_release64(&header->published, s->start_position);
        return IPCR_OK;
    }
    for (int side = 0; side < IPCR_SIDES; side++) {
        store_relaxed64(&s->header->marks[side].mark[0].position, s->start_position);
        store_relaxed64(&s->header->marks[side].thrown_away, IPCR_NOWHERE);
        store_release64(&s->header->at[side].position, s->start_position);
    }
    return IPCR_OK;
}

/* The file just opened under s->fd is ours.  A number whose file we don't know is not kept. */
static int know_file(struct ipcr_segment *s, int rc)
{
    struct ipcr_file_facts facts;
    if (rc != IPCR_OK)
        return rc;
    rc = ipcr_os_facts(s->fd, &facts);
    if (rc == IPCR_OK) {
        s->id = facts.id;
        return IPCR_OK;
    }
    ipcr_os_close(s->fd);
    s->fd = -1;
    return rc;
}

/* Make the file under s->fd a complete segment, and be present in it. */
static int furnish(struct ipcr_segment *s)
{
    int rc = ipcr_os_allocate(s->fd, first_piece(s)); /* lack of room is an error here, never a SIGBUS */
    if (rc == IPCR_OK && ipcr_is_queue(s->kind))
        rc = ipcr_os_set_size(s->fd, ipcr_total_bytes(s->kind, s->capacity, s->lanes, s->options.slots));
    if (rc == IPCR_OK)
        rc = map_segment(s);
    if (rc == IPCR_OK)
        rc = initialise(s);
    if (rc == IPCR_OK && s->dir == NULL)
        rc = ipcr_os_seal(s->fd);
    return rc == IPCR_OK ? ipcr_segment_become_present(s) : rc;
}

/* Give the finished inode its name; a name that leads to an orphan is freed first. */
static int publish_name(struct ipcr_segment *s, const char *temporary)
{
    for (int i = 0; i < CREATE_TRIES; i++) {
        int rc = temporary == NULL ? ipcr_os_link(s->fd, s->dir, s->name)
                                   : ipcr_os_rename_new(s->dir, temporary, s->name);
        if (rc != IPCR_FROM_ERRNO(EEXIST))
            return rc;
        rc = ipcr_name_remove(s->dir, s->name, IPCR_REMOVE_ORPHAN);
        if (rc != IPCR_OK && rc != IPCR_NOT_FOUND)
            return rc;
    }
    return IPCR_EXISTS;
}

/* Where O_TMPFILE is missing: a temporary name, present before it is worth anything.  A kill leaves an
 * orphan that gc knows by its prefix; gc in between takes the name away, and we try again. */
static int create_by_rename(struct ipcr_segment *s)
{
    for (int i = 0; i < CREATE_TRIES; i++) {
        uint64_t random;
        char temporary[64];
        int rc = ipcr_os_random(&random, sizeof random);
        if (rc != IPCR_OK)
            return rc;
        snprintf(temporary, sizeof temporary, IPCR_TEMPORARY_PREFIX "%016llx", (unsigned long long)random);
        rc = ipcr_os_open_exclusive(s->dir, temporary, &s->fd);
        if (rc == IPCR_FROM_ERRNO(EEXIST))
            continue;
        if (rc != IPCR_OK)
            return rc;
        rc = know_file(s, rc);
        if (rc == IPCR_OK)
            rc = furnish(s);
        if (rc == IPCR_OK)
            rc = publish_name(s, temporary);
        if (rc == IPCR_OK)
            return IPCR_OK;
        ipcr_os_unlink(s->dir, temporary);
        if (rc != IPCR_FROM_ERRNO(ENOENT) && rc != IPCR_TAKEN)
            return rc;
        ipcr_hold_drop(&s->presence);
        unmap_segment(s);
        close_own(s);
        s->fd = -1;
    }
    return IPCR_EXISTS;
}

/* The same where the file has no name yet, so that nobody can be in the way of its lock. */
static int furnish_nameless(struct ipcr_segment *s)
{
    const int rc = furnish(s);
    return rc == IPCR_TAKEN ? IPCR_FROM_ERRNO(EAGAIN) : rc;
}

static int create_file(struct ipcr_segment *s, const char *label)
{
    int rc;
    if (s->dir == NULL) {
        rc = know_file(s, ipcr_os_memfd(label, &s->fd));
        return rc == IPCR_OK ? furnish_nameless(s) : rc;
    }
    rc = ipcr_os_open_nameless(s->dir, &s->fd);
    if (rc == IPCR_FROM_ERRNO(EOPNOTSUPP) || rc == IPCR_FROM_ERRNO(EISDIR))
        return create_by_rename(s);
    rc = know_file(s, rc);
    if (rc == IPCR_OK)
        rc = furnish_nameless(s);
    return rc == IPCR_OK ? publish_name(s, NULL) : rc;
}

static int create(const char *dir, const char *name, const struct ipcr_segment *wanted, struct ipcr_segment **out)
{
    int rc = ipcr_registry_start();
    if (rc != IPCR_OK)
        return rc;
    struct ipcr_segment *s = new_segment(dir, name);
    if (s == NULL)
        return IPCR_FROM_ERRNO(ENOMEM);
    s->kind = wanted->kind;
    s->capacity = wanted->capacity;
    s->lanes = wanted->lanes;
    s->options = wanted->options;
    s->multicast = wanted->multicast;
    s->header_bytes = ipcr_header_bytes(s->kind, s->lanes);
    s->start_position = wanted->start_position;
    s->flags = (dir != NULL ? IPCR_FLAG_NAMED : 0) | (ipcr_has_membarrier() ? IPCR_FLAG_ASYMMETRIC : 0);
    rc = create_file(s, name);
    if (rc != IPCR_OK) {
        discard_segment(s);
        return rc;
    }
    ipcr_registry_lock();
    ipcr_registry_add(s);
    ipcr_registry_unlock();
    *out = s;
    return IPCR_OK;
}

int ipcr_segment_create(const char *dir, const char *name, uint32_t kind, uint64_t capacity, uint64_t start_position,
                        struct ipcr_segment **out)
{
    if (ipcr_is_queue(kind) || kind == IPCR_KIND_MULTICAST || capacity == 0 ||
        capacity != ipcr_round_capacity(capacity) || (start_position & 7) != 0)
        return IPCR_FROM_ERRNO(EINVAL);
    const struct ipcr_segment wanted = { .kind = kind, .capacity = capacity, .start_position = start_position };
    return create(dir, name, &wanted, out);
}

int ipcr_segment_create_queue(const char *dir, const char *name, uint32_t kind, uint64_t capacity, uint32_t lanes,
                              const struct ipcr_queue_options *options, uint64_t start_sequence,
                              struct ipcr_segment **out)
{
    if (!ipcr_is_queue(kind) || capacity == 0 || capacity != ipcr_round_capacity(capacity) ||
        !ipcr_are_sound_for_queue(options) || lanes == 0 || lanes > IPCR_MOST_LANES)
        return IPCR_FROM_ERRNO(EINVAL);
    const struct ipcr_segment wanted = {
        .kind = kind, .capacity = capacity, .lanes = lanes, .options = *options, .start_position = start_sequence,
    };
    return create(dir, name, &wanted, out);
}

int ipcr_segment_create_multicast(const char *dir, const char *name, uint64_t capacity, uint32_t entries,
                                  const struct ipcr_multicast_options *options, uint64_t start_sequence,
                                  struct ipcr_segment **out)
{
    if (capacity == 0 || capacity != ipcr_round_capacity(capacity) || !ipcr_is_number_of_entries(entries) ||
        !ipcr_are_sound_for_multicast(options))
        return IPCR_FROM_ERRNO(EINVAL);
    const struct ipcr_segment wanted = {
        .kind = IPCR_KIND_MULTICAST, .capacity = capacity, .lanes = entries, .multicast = *options,
        .start_position = start_sequence,
    };
    return create(dir, name, &wanted, out);
}

static int read_geometry(int fd, const struct ipcr_file_facts *facts, struct ipcr_geometry *out,
                         struct ipcr_segment *options)
{
    const uint8_t *at;
    int rc = ipcr_os_map_read_only(fd, sizeof(struct ipcr_header), &at);
    if (rc != IPCR_OK)
        return rc;
    rc = ipcr_segment_check((const struct ipcr_header *)(const void *)at, facts, out);
    if (rc == IPCR_OK && ipcr_is_queue(out->kind)) /* the options lie within the first header's size */
        rc = ipcr_queue_check((const struct ipcr_queue_header *)(const void *)at, out, &options->options);
    if (rc == IPCR_OK && out->kind == IPCR_KIND_MULTICAST)
        rc = ipcr_multicast_check((const struct ipcr_multicast_header *)(const void *)at, &options->multicast);
    ipcr_os_unmap(at, sizeof(struct ipcr_header));
    return rc;
}

static int settle(struct ipcr_segment *s, uint32_t kind, bool handed_over)
{
    struct ipcr_file_facts facts;
    struct ipcr_geometry g;
    int rc = ipcr_os_facts(s->fd, &facts);
    if (rc == IPCR_OK)
        rc = ipcr_segment_trust(&facts);
    if (rc == IPCR_OK)
        rc = read_geometry(s->fd, &facts, &g, s);
    if (rc != IPCR_OK)
        return rc;
    if (kind != 0 && g.kind != kind)
        return IPCR_KIND;
    const uint64_t here = ipcr_os_time_namespace();
    if (g.time_namespace != 0 && here != 0 && g.time_namespace != here)
        return IPCR_TIME_NAMESPACE;
    s->id = facts.id;
    s->kind = g.kind;
    s->flags = g.flags;
    s->header_bytes = g.header_bytes;
    s->capacity = g.capacity;
    s->lanes = g.lanes;
    s->start_position = g.start_position;
    s->uuid[0] = g.uuid[0];
    s->uuid[1] = g.uuid[1];
    rc = ipcr_segment_become_present(s);
    if (rc == IPCR_TAKEN) /* somebody is unlinking it just now */
        return s->dir == NULL || handed_over ? IPCR_FROM_ERRNO(EAGAIN) : IPCR_AGAIN;
    if (rc == IPCR_OK && s->dir != NULL && !handed_over) {
        rc = ipcr_still_named(s->dir, s->name, s->id);
        if (rc == IPCR_NOT_FOUND)
            return IPCR_AGAIN;
    }
    return rc == IPCR_OK ? map_segment(s) : rc;
}

int ipcr_segment_attach(int fd, const char *dir, const char *name, uint32_t kind, bool handed_over,
                        struct ipcr_segment **out)
{
    int rc = ipcr_registry_start();
    if (rc != IPCR_OK)
        return rc;
    struct ipcr_segment *s = new_segment(dir, name);
    if (s == NULL)
        return IPCR_FROM_ERRNO(ENOMEM);
    s->fd = fd;
    rc = settle(s, kind, handed_over);
    if (rc != IPCR_OK) {
        s->fd = -1; /* still the caller's */
        discard_segment(s);
        return rc;
    }
    ipcr_registry_lock();
    ipcr_registry_add(s);
    ipcr_registry_unlock();
    *out = s;
    return IPCR_OK;
}

int ipcr_segment_unlink(struct ipcr_segment *s)
{
    if (s->dir == NULL)
        return IPCR_NOT_FOUND;
    return ipcr_unlink_checked(s->fd, s->id, s->dir, s->name, false, NULL);
}

void ipcr_segment_reference(struct ipcr_segment *s)
{
    ipcr_registry_lock();
    s->users++;
    s->references++;
    ipcr_registry_unlock();
}

bool ipcr_segment_quit_locked(struct ipcr_segment *s) { return --s->users == 0; }

/* The last one out takes the name along, unless somebody may still want what is unread.  Failure leaves
 * an orphan, which the next creator or gc removes. */
void ipcr_segment_leave(struct ipcr_segment *s)
{
    ipcr_hold_drop(&s->presence); /* first, or the exclusive lock would always meet our own */
    if (s->dir != NULL && ipcr_nothing_unread(s))
        ipcr_unlink_checked(s->fd, s->id, s->dir, s->name, true, s);
}

void ipcr_segment_quit(struct ipcr_segment *s, bool *has_quit)
{
    ipcr_registry_lock();
    const bool last = !*has_quit && ipcr_segment_quit_locked(s);
    *has_quit = true;
    ipcr_registry_unlock();
    if (last)
        ipcr_segment_leave(s);
}

void ipcr_segment_forget(struct ipcr_segment *s)
{
    ipcr_registry_lock();
    const bool last = --s->references == 0;
    if (last)
        ipcr_registry_remove(s);
    ipcr_registry_unlock();
    if (last)
        discard_segment(s);
}

void ipcr_segment_release(struct ipcr_segment *s)
{
    bool has_quit = false;
    ipcr_segment_quit(s, &has_quit);
    ipcr_segment_forget(s);
}
