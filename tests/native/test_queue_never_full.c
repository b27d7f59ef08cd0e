/* test_queue_never_full.c - Full is said only of a queue that was full at some moment; and where the messages of others
 * can't be counted, nothing is put beyond maxsize.
 *
 * Lanes are looked at one after the other.  Here the only message is moved from lane to lane whenever the count comes to the
 * next one, so that it is there each time.  What other processes can do at all moments is for the explorer (queue-maxsize).
 */
#include "queues.h"

int __real_ipcr_lane_bounds(const struct ipcr_lane *l, uint64_t *freed, uint64_t *next);
int __wrap_ipcr_lane_bounds(const struct ipcr_lane *l, uint64_t *freed, uint64_t *next);

static struct ipcr_queue *own[2]; /* a handle for each lane */
static uint32_t moves_to_go;
static uint64_t moved;

int __wrap_ipcr_lane_bounds(const struct ipcr_lane *l, uint64_t *freed, uint64_t *next)
{
    const uint32_t moves = moves_to_go;
    if (moves > 0) {
        uint64_t number;
        moves_to_go = 0; /* putting counts as well */
        check_gets(own[0], moved);
        number = ++moved;
        put(l == &own[0]->segment->lane[0] ? own[0] : own[1], number);
        moves_to_go = moves - 1;
    }
    return __real_ipcr_lane_bounds(l, freed, next);
}

static void a_message_that_is_moved_from_lane_to_lane_is_one_message(void)
{
    struct ipcr_segment *s = queue_of(IPCR_KIND_QUEUE, 2, &(struct ipcr_queue_options){ .maxsize = 2 }, 0);
    own[0] = handle_on(s);
    own[1] = handle_on(s);
    CHECK_IS(ipcr_queue_take_lane(own[0], true), IPCR_OK);
    CHECK_IS(ipcr_queue_take_lane(own[1], true), IPCR_OK);
    put(own[0], 0);
    moved = 0;
    moves_to_go = 6;
    CHECK_IS(ipcr_queue_is_full(own[0]), 0);
    CHECK(moved >= 4); /* two counts at least */
    moves_to_go = 0;
    put(own[1], 99);
    CHECK_IS(ipcr_queue_is_full(own[0]), 1);
    ipcr_queue_free(own[1]);
    finish_queue(own[0]);
}

/* As in another process.  The descriptor's number leads elsewhere for a while, so that lanes can't be mapped. */
static void a_put_that_cannot_count_the_messages_of_others_is_refused(void)
{
    struct ipcr_segment *s = queue_of(IPCR_KIND_QUEUE, 2, &(struct ipcr_queue_options){ .maxsize = 1 }, 0), *second;
    int fd;
    CHECK_IS(ipcr_os_reopen(s->fd, s->id, &fd), IPCR_OK);
    CHECK_IS(ipcr_segment_attach(fd, NULL, NULL, IPCR_KIND_QUEUE, true, &second), IPCR_OK);
    own[0] = handle_on(s);
    own[1] = handle_on(second);
    CHECK_IS(ipcr_queue_take_lane(own[1], true), IPCR_OK);
    put(own[0], 7);
    const int kept = dup(fd), elsewhere = open("/dev/null", O_RDWR);
    CHECK(kept >= 0 && elsewhere >= 0 && dup2(elsewhere, fd) == fd);
    CHECK_IS(try_put(own[1], 8), IPCR_FROM_ERRNO(EBADF));
    CHECK_IS(ipcr_queue_is_full(own[1]), IPCR_FROM_ERRNO(EBADF));
    CHECK_IS(ipcr_queue_depth(own[1]), IPCR_FROM_ERRNO(EBADF));
    CHECK(dup2(kept, fd) == fd && close(kept) == 0 && close(elsewhere) == 0);
    CHECK_IS(try_put(own[1], 8), IPCR_FULL);
    check_gets(own[0], 7);
    CHECK_IS(try_put(own[1], 8), IPCR_OK);
    check_gets(own[0], 8);
    finish_queue(own[1]);
    finish_queue(own[0]);
}

int main(void)
{
    check_begin();
    run("a message that is moved from lane to lane is one message",
        a_message_that_is_moved_from_lane_to_lane_is_one_message);
    run("a put that can't count the messages of others is refused",
        a_put_that_cannot_count_the_messages_of_others_is_refused);
    return check_finish();
}
