/* queue_scene.c - the queue on which operations are tried, and its handles. */
#include "queue_scene.h"

struct ipcr_queue *producer, *consumer;
uint64_t put_id;

int create_queue_in(const char *where, uint64_t maxsize)
{
    const struct ipcr_queue_options options = { .slots = SLOTS, .lanes_each = 1, .maxsize = maxsize };
    const int rc = ipcr_segment_create_queue(where, where != NULL ? NAME : "ipc:test", IPCR_KIND_RELIABLE, CAPACITY, LANES,
                                             &options, 0, &segment);
    CHECK(rc != IPCR_TAKEN);
    return rc;
}

int attach_to_queue(void) { return attach_as(IPCR_KIND_RELIABLE, &second); }

struct ipcr_queue *handle_on(struct ipcr_segment *s)
{
    struct ipcr_queue *q;
    CHECK_IS(ipcr_queue_open(s, 0, &q), IPCR_OK);
    return q;
}

void finish(struct ipcr_queue **q)
{
    ipcr_queue_free(*q);
    *q = NULL;
}

int put_by(struct ipcr_queue *q, const char *message)
{
    const struct ipcr_piece piece = { .data = message, .length = MESSAGE_BYTES };
    struct ipcr_put options = { .info = 0 };
    int rc = ipcr_queue_put_pieces(q, &piece, 1, &options);
    if (rc == IPCR_NOT_TAKEN) {
        rc = ipcr_queue_take_lane(q, false);
        if (rc == IPCR_NOT_FOUND)
            rc = ipcr_queue_take_lane(q, true);
        if (rc == IPCR_OK)
            rc = ipcr_queue_put_pieces(q, &piece, 1, &options);
    }
    put_id = options.id;
    return rc;
}

int get_by(struct ipcr_queue *q, const char *message)
{
    char got[IPCR_SMALL];
    struct ipcr_lease l;
    const int rc = ipcr_queue_get(q, got, sizeof got, &l);
    CHECK(rc != IPCR_OK || (l.length == MESSAGE_BYTES && memcmp(got, message, MESSAGE_BYTES) == 0));
    return rc;
}

void check_puts(struct ipcr_queue *q) { CHECK_IS(put_by(q, "message"), IPCR_OK); }
void check_gets(struct ipcr_queue *q, const char *message) { CHECK_IS(get_by(q, message), IPCR_OK); }
void check_is_empty(struct ipcr_queue *q) { CHECK_IS(get_by(q, ""), IPCR_EMPTY); }

void one_message_through(void)
{
    check_puts(producer);
    check_gets(consumer, "message");
}

void prove_used(void)
{
    check_is_empty(consumer);
    one_message_through();
}

void make_with_handles_of(uint64_t maxsize)
{
    CHECK_IS(create_queue_in(dir, maxsize), IPCR_OK);
    CHECK_IS(attach_to_queue(), IPCR_OK);
    producer = handle_on(segment);
    consumer = handle_on(second);
}

void make_with_handles(void) { make_with_handles_of(0); }

void unmake_with_handles(void)
{
    finish(&consumer);
    finish(&producer);
    release(&second);
    release(&segment);
}

/* Both have what they need: a lane, a number, and the lane's memory. */
void make_used(void)
{
    make_with_handles();
    one_message_through();
}

void make_with_message(void)
{
    make_with_handles();
    check_puts(producer);
}

void unmake_full(void)
{
    unmake_with_handles();
    collect();
}

void anew(void (*again)(void))
{
    unmake_with_handles();
    again();
}

void remake_with_message(void) { anew(make_with_message); }
