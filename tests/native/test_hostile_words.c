/* test_hostile_words.c - single words that a peer writes between two calls: what a receiver knows of the ring never
 * becomes more than the ring.  Found by tests/fuzz, kept here as sentences. */
#include "messages.h"

static void store_position(const struct ends *p, uint32_t side, uint64_t position)
{
    store_release64(&p->segment->header->at[side].position, position);
}

static struct ipcr_record *record_at(const struct ends *p, uint64_t position)
{
    return (struct ipcr_record *)(void *)(p->segment->data + (position & (p->segment->capacity - 1)));
}

static void write_record(const struct ends *p, uint64_t position, uint64_t length, uint64_t info)
{
    store_relaxed64(&record_at(p, position)->length, length);
    store_relaxed64(&record_at(p, position)->info, info);
}

/* The run was looked at with a write position that is right behind its first message, and a ring's length too far for
 * those who stand before it again. */
static void a_run_that_stays_leaves_no_more_known_than_the_ring_has(void)
{
    const uint64_t start = SMALLEST - 8; /* a record here that is longer than the ring ends behind the second copy */
    static char out[2 * SMALLEST];
    struct ends p = ends_at(SMALLEST, start);
    int64_t results[4];
    const uint64_t info = IPCR_INFO(0, IPCR_PICKLE);
    CHECK_IS(ipcr_send(p.w, "first", 5, info), IPCR_OK);
    CHECK_IS(data_until(p.r, 0), IPCR_OK); /* knows of this one */
    const uint64_t second = p.w->writer.position;
    write_record(&p, second, ipcr_max_length(SMALLEST), info);
    store_position(&p, IPCR_SENDER, second + SMALLEST);
    write_record(&p, start, 5, info);
    CHECK_IS(ipcr_recv_many(p.r, out, sizeof out, results, 4, false, &run_start), 2);
    CHECK(p.r->reader.cached_write - p.r->reader.position <= SMALLEST);
    write_record(&p, start, SMALLEST, info); /* the peer thinks again: this can't be, in any ring of this size */
    CHECK_IS(ipcr_peek(p.r), IPCR_CORRUPT);
    ends_finish(&p);
}

int main(void)
{
    check_begin();
    run("a run that stays leaves no more known than the ring has",
        a_run_that_stays_leaves_no_more_known_than_the_ring_has);
    return check_finish();
}
