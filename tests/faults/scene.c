/* scene.c - the segments and ends on which operations are tried, and the pieces that these are made of. */
#include "scene.h"
#include "registry.h"

const char *dir;
struct ipcr_segment *segment, *second;
struct ipcr_end *sender, *receiver;

static pid_t forked;

enum { TRIES = 1000 };

void release(struct ipcr_segment **s)
{
    ipcr_segment_release(*s);
    *s = NULL;
}

void drop(struct ipcr_end **e, bool clean)
{
    ipcr_end_close(*e, clean);
    ipcr_end_free(*e);
    *e = NULL;
}

struct ipcr_end *opened(struct ipcr_segment *s, uint32_t side)
{
    struct ipcr_end *e;
    CHECK_IS(ipcr_end_open(s, side, 0, &e), IPCR_OK);
    return e;
}

struct ipcr_end *taken(struct ipcr_segment *s, uint32_t side)
{
    uint32_t by;
    struct ipcr_end *e = opened(s, side);
    CHECK_IS(ipcr_end_take(e, &by), IPCR_OK);
    return e;
}

void one_message(struct ipcr_end *from, struct ipcr_end *to)
{
    char got[IPCR_SMALL];
    CHECK_IS(ipcr_send(from, "message", 7, 0), IPCR_OK);
    CHECK_IS(ipcr_recv(to, got), 7);
    CHECK(memcmp(got, "message", 7) == 0);
}

void message_through(struct ipcr_segment *in, struct ipcr_segment *out)
{
    struct ipcr_end *from = taken(in, IPCR_SENDER), *to = taken(out, IPCR_RECEIVER);
    one_message(from, to);
    drop(&from, false); /* as by a crash: a clean close would end the segment's life for the next */
    drop(&to, false);
}

int create_in(const char *where, struct ipcr_segment **out)
{
    const int rc = ipcr_segment_create(where, where != NULL ? NAME : "ipc:test", IPCR_KIND_RING, CAPACITY, 0, out);
    CHECK(rc != IPCR_TAKEN); /* a word about ends, which the binding has no exception for here */
    return rc;
}

int attach_as(uint32_t kind, struct ipcr_segment **out)
{
    for (int i = 0; i < TRIES; i++) {
        int fd;
        int rc = ipcr_os_open(dir, NAME, &fd);
        if (rc != IPCR_OK)
            return rc == IPCR_FROM_ERRNO(ENOENT) ? IPCR_NOT_FOUND : rc;
        rc = ipcr_segment_attach(fd, dir, NAME, kind, false, out);
        if (rc != IPCR_OK)
            ipcr_os_close(fd);
        if (rc != IPCR_AGAIN)
            return rc;
    }
    return IPCR_NAME_BUSY;
}

int attach_to(struct ipcr_segment **out) { return attach_as(IPCR_KIND_RING, out); }

int attach_handed_over(uint32_t kind)
{
    int fd;
    int rc = ipcr_os_reopen(segment->fd, segment->id, &fd);
    if (rc == IPCR_OK) {
        rc = ipcr_segment_attach(fd, dir, NAME, kind, true, &second);
        if (rc != IPCR_OK)
            ipcr_os_close(fd);
    }
    return rc;
}

void make(void) { CHECK_IS(create_in(dir, &segment), IPCR_OK); }
void unmake(void) { release(&segment); }

void make_with_ends(void)
{
    make();
    sender = taken(segment, IPCR_SENDER);
    receiver = taken(segment, IPCR_RECEIVER);
}

void unmake_with_ends(void)
{
    drop(&sender, true);
    drop(&receiver, true);
    unmake();
}

static void act_and_die(int ear, int mouth, void *act)
{
    (void)ear, (void)mouth;
    (*(void (**)(void))act)();
    _exit(0);
}

void die_after(void (*act)(void))
{
    struct child c = child_start(act_and_die, &act);
    child_finish(&c);
}

int remove_orphan(void) { return ipcr_name_remove(dir, NAME, IPCR_REMOVE_ORPHAN); }
void collect(void) { CHECK_IS(remove_orphan(), IPCR_OK); }

void prove_left(void)
{
    const int rc = remove_orphan();
    CHECK(rc == IPCR_OK || rc == IPCR_NOT_FOUND);
    CHECK_IS(attach_to(&second), IPCR_NOT_FOUND);
}

int fork_to(void (*act)(void))
{
    forked = fork();
    if (forked != 0)
        return forked > 0 ? IPCR_OK : IPCR_FROM_ERRNO(errno);
    check_running = "in the forked child";
    act();
    _exit(0);
}

void prove_forked(void)
{
    int status;
    CHECK(waitpid(forked, &status, 0) == forked);
    CHECK(WIFEXITED(status));
    CHECK_IS(WEXITSTATUS(status), 0);
}

void nothing(void) {}
