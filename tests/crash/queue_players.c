/* queue_players.c - processes on a queue's stage, played by handles; see queue_scenes.h. */
#include "queue_scenes.h"

enum { SECOND_NS = 1000000000 };

struct ipcr_queue *enters(struct stage *s)
{
    struct ipcr_queue *q = NULL;
    CHECK_IS(ipcr_queue_open(s->segment, 0, &q), IPCR_OK);
    return q;
}

void stays(struct stage *s, struct ipcr_queue *q)
{
    CHECK(s->play->mate == NULL);
    s->play->mate = q;
    if (q->registered)
        lives_on(s, &q->hold, IPCR_LOCK_HOLDER(q->holder), true);
    for (uint32_t i = 0; i < q->lanes_taken; i++)
        lives_on(s, &q->own[i].hold, IPCR_LOCK_LANE(q->own[i].index), true);
}

void leaves(struct ipcr_queue *q) { ipcr_queue_free(q); }

void dies(struct ipcr_queue *q)
{
    if (q->registered)
        ipcr_hold_drop(&q->hold);
    q->registered = false;
    for (; q->lanes_taken > 0; q->lanes_taken--)
        ipcr_hold_drop(&q->own[q->lanes_taken - 1].hold);
    ipcr_queue_free(q);
}

void takes_a_lane(struct ipcr_queue *q) { CHECK_IS(ipcr_queue_take_lane(q, true), IPCR_OK); }

int put_number(struct stage *s, struct ipcr_queue *q, uint32_t number, uint64_t ttl_ns, uint64_t *id)
{
    static uint8_t message[HAND_BYTES];
    const struct ipcr_piece piece = { .data = (const char *)message, .length = length_of(s, number) };
    struct ipcr_put put = { .info = IPCR_INFO(number, IPCR_BYTES), .ttl_ns = ttl_ns };
    stamp(message, piece.length, number);
    const int rc = ipcr_queue_put_pieces(q, &piece, 1, &put);
    *id = put.id;
    return rc;
}

static void put_and_note(struct stage *s, struct ipcr_queue *q, uint64_t ttl_ns)
{
    struct play *p = s->play;
    const uint32_t number = p->count++;
    uint64_t id;
    if (q->lanes_taken == 0)
        takes_a_lane(q);
    CHECK_IS(put_number(s, q, number, ttl_ns, &id), IPCR_OK);
    const uint32_t lane = (uint32_t)(id % s->segment->lanes);
    struct lane_story *story = &p->lanes[lane];
    CHECK(lane == q->own[q->turn].index);
    story->numbers[story->count++] = number;
    p->messages[number] = (struct message){ .lane = lane, .now = { .phase = IPCR_READY } };
}

void brings(struct stage *s, struct ipcr_queue *q, uint32_t count)
{
    while (count-- > 0)
        put_and_note(s, q, 0);
}

void brings_sized(struct stage *s, struct ipcr_queue *q, uint64_t length, uint64_t ttl_ns)
{
    s->lengths[s->play->count] = length;
    put_and_note(s, q, ttl_ns);
}

uint32_t leases(struct stage *s, struct ipcr_queue *q, uint64_t seconds)
{
    struct ipcr_lease lease;
    CHECK_IS(ipcr_queue_lease(q, seconds * SECOND_NS, &lease), IPCR_OK);
    const uint32_t number = IPCR_INFO_TYPE(lease.info);
    struct standing *it = &s->play->messages[number].now;
    CHECK(it->phase == IPCR_READY && lease.deliveries == it->deliveries + 1);
    *it = (struct standing){ .phase = IPCR_LEASED, .deliveries = lease.deliveries, .holder = q->holder,
                             .date = seconds == 0 ? NEVER : LATER };
    s->play->leases[number] = lease;
    return number;
}

void acks(struct stage *s, struct ipcr_queue *q, uint32_t number)
{
    struct standing *it = &s->play->messages[number].now;
    CHECK_IS(ipcr_lease_ack(q, &s->play->leases[number]), IPCR_OK);
    *it = (struct standing){ .phase = IPCR_ACKED, .deliveries = it->deliveries };
}

void takes(struct stage *s, struct ipcr_queue *q, uint32_t count)
{
    while (count-- > 0)
        acks(s, q, leases(s, q, 0));
}

struct ipcr_queue *mere_producer(struct stage *s)
{
    struct ipcr_queue *q = enters(s);
    takes_a_lane(q);
    return q;
}

struct ipcr_queue *with_a_number(struct stage *s)
{
    struct ipcr_queue *q = enters(s);
    CHECK_IS(ipcr_queue_register(q), IPCR_OK);
    return q;
}
