/* test_edges_of_calls.c - what every call does before and after its work: who may enter, who gets back what was lent,
 * and what a caller that polls is told of its peer. */
#include "fast_calls.h"
#include "messages.h"

#include <pthread.h>

static void bytes_alone_are_a_message_without_type(void)
{
    struct ends p = ends_at(SMALLEST, 0);
    char out[IPCR_SMALL];
    CHECK_IS(ipcr_send_bytes(p.w, "bytes", 5), IPCR_OK);
    CHECK_IS(ipcr_recv(p.r, out), 5);
    CHECK_IS(ipcr_last_info(p.r), 0);
    ends_finish(&p);
}

/* --- what was lent, and to whom --------------------------------------------------------------------------------------- */

static void *claim_elsewhere(void *end)
{
    CHECK_IS(ipcr_claim(end, 10), IPCR_OK);
    return NULL;
}

static void a_claim_is_taken_back_by_its_own_thread_only(void)
{
    struct ends p = ends_at(SMALLEST, 0);
    pthread_t other;
    CHECK_IS(ipcr_take_back(p.w), IPCR_OK); /* nothing to do */
    CHECK_IS(ipcr_claim(p.w, 10), IPCR_OK);
    CHECK_IS(ipcr_take_back(p.w), IPCR_OK);
    CHECK_IS(ipcr_commit(p.w, 10, 0), IPCR_NOTHING_LENT);
    CHECK(pthread_create(&other, NULL, claim_elsewhere, p.w) == 0 && pthread_join(other, NULL) == 0);
    CHECK_IS(ipcr_take_back(p.w), IPCR_LENT);
    CHECK_IS(ipcr_commit(p.w, 10, 0), IPCR_OK);
    CHECK_IS(ipcr_send_bytes(p.w, "more", 4), IPCR_OK);
    ends_finish(&p);
}

static void what_was_never_taken_has_nothing_to_give_back(void)
{
    struct ipcr_segment *s = anonymous(SMALLEST, 0);
    struct ipcr_end *w = NULL, *r = NULL;
    CHECK_IS(ipcr_end_open(s, IPCR_SENDER, 0, &w), IPCR_OK);
    CHECK_IS(ipcr_end_open(s, IPCR_RECEIVER, 0, &r), IPCR_OK);
    CHECK_IS(ipcr_abort(w), IPCR_NOTHING_LENT);
    CHECK_IS(ipcr_take_back(w), IPCR_NOTHING_LENT);
    CHECK_IS(ipcr_release(r), IPCR_NOTHING_LENT);
    CHECK_IS(ipcr_skip(r, 0, 1), IPCR_NOTHING_LENT);
    CHECK_IS(ipcr_peer_sometimes(r), IPCR_NOT_TAKEN);
    ipcr_spin_for_data(r); /* says nothing, and ends */
    CHECK_IS(ipcr_flush_wait(w, 0, 0), IPCR_NOT_TAKEN);
    finish(w, true);
    finish(r, true);
    ipcr_segment_release(s);
}

static void a_closed_end_says_so_to_every_call(void)
{
    struct ends p = ends_at(SMALLEST, 0);
    struct ipcr_inbox inbox;
    uint32_t by;
    inbox.end = p.r;
    ipcr_end_close(p.r, true);
    ipcr_end_close(p.r, true); /* the second says nothing */
    CHECK_IS(ipcr_recv_into(&inbox), IPCR_CLOSED);
    CHECK_IS(ipcr_recv_wait(p.r, inbox.bytes, IPCR_FOREVER, 0), IPCR_CLOSED);
    CHECK_IS(ipcr_recv_wait(p.r, inbox.bytes, IPCR_FOREVER, 1), IPCR_CLOSED);
    CHECK_IS(ipcr_skip(p.r, 0, 0), IPCR_CLOSED);
    CHECK_IS(ipcr_take_back(p.r), IPCR_CLOSED);
    CHECK_IS(ipcr_end_take(p.r, &by), IPCR_CLOSED);
    ipcr_end_free(p.r);
    finish(p.w, true);
    ipcr_segment_release(p.segment);
}

/* --- between two slices of a wait -------------------------------------------------------------------------------------- */

static void between_slices_the_end_is_busy_for_everybody_else(void)
{
    struct ends p = ends_at(SMALLEST, 0);
    char out[IPCR_SMALL];
    uint32_t by;
    CHECK_IS(ipcr_recv_wait(p.r, out, IPCR_FOREVER, 0), IPCR_AGAIN);
    CHECK_IS(ipcr_recv(p.r, out), IPCR_BUSY);
    CHECK_IS(ipcr_recv_wait(p.r, out, IPCR_FOREVER, 0), IPCR_BUSY);
    CHECK_IS(ipcr_release(p.r), IPCR_BUSY);
    CHECK_IS(ipcr_peer_sometimes(p.r), IPCR_OK); /* whoever waits looks after the peer */
    CHECK_IS(ipcr_end_take(p.r, &by), IPCR_BUSY);
    ipcr_stop_waiting(p.r);
    ipcr_stop_waiting(p.r); /* nothing more to stop */
    CHECK_IS(ipcr_recv_wait(p.r, out, IPCR_FOREVER, 1), IPCR_BUSY); /* there is no wait to go on with */
    CHECK_IS(ipcr_recv(p.r, out), IPCR_EMPTY);
    CHECK_IS(ipcr_recv_wait(p.r, out, IPCR_FOREVER, 0), IPCR_AGAIN);
    ends_finish(&p); /* a close may come between two slices */
}

/* --- polling ------------------------------------------------------------------------------------------------------------- */

static void who_polls_is_told_of_the_peers_end_after_its_messages(void)
{
    struct ends p = ends_at(SMALLEST, 0);
    char out[IPCR_SMALL];
    CHECK_IS(ipcr_peer_sometimes(p.r), IPCR_OK);
    CHECK_IS(ipcr_send_bytes(p.w, "last", 4), IPCR_OK);
    finish(p.w, true);
    CHECK_IS(ipcr_peer_sometimes(p.r), IPCR_OK); /* not every look is one */
    p.r->next_probe_ns = 0;
    CHECK_IS(ipcr_peer_sometimes(p.r), IPCR_OK); /* what it sent comes first */
    CHECK_IS(ipcr_recv(p.r, out), 4);
    p.r->next_probe_ns = 0;
    CHECK_IS(ipcr_peer_sometimes(p.r), IPCR_END_OF_CHANNEL);
    finish(p.r, true);
    ipcr_segment_release(p.segment);
}

static void who_polls_is_told_of_the_peers_death(void)
{
    struct ends p = ends_at(SMALLEST, 0);
    finish(p.r, false);
    CHECK_IS(ipcr_peer_sometimes(p.w), IPCR_PEER_DIED);
    CHECK_IS(ipcr_end_peer_pid(p.w), getpid());
    finish(p.w, true);
    ipcr_segment_release(p.segment);
}

/* --- the accelerator's table ---------------------------------------------------------------------------------------------- */

static void the_accelerators_table_leads_to_the_same_functions(void)
{
    const struct ipcr_fast_calls *calls = ipcr_fast_calls();
    struct ends p = ends_at(SMALLEST, 0);
    const char *payload = NULL;
    CHECK_IS(calls->version, IPCR_FAST_CALLS_VERSION);
    CHECK_IS(calls->bytes, sizeof *calls);
    CHECK_IS(calls->send_bytes(p.w, "one", 3), IPCR_OK);
    CHECK_IS(calls->batch_begin(p.w), IPCR_OK);
    CHECK_IS(calls->batch_add(p.w, "three", 5, 0), IPCR_OK);
    calls->batch_end(p.w);
    CHECK_IS(calls->reading_begin(p.r, &payload), 3);
    CHECK_IS(calls->reading_next(p.r, &payload), 5);
    CHECK(memcmp(payload, "three", 5) == 0);
    calls->reading_end(p.r, 1);
    calls->spin_for_data(p.r);
    CHECK_IS(calls->reading_begin(p.r, &payload), IPCR_EMPTY);
    ends_finish(&p);
}

int main(void)
{
    check_begin();
    run("bytes alone are a message without type", bytes_alone_are_a_message_without_type);
    run("a claim is taken back by its own thread only", a_claim_is_taken_back_by_its_own_thread_only);
    run("what was never taken has nothing to give back", what_was_never_taken_has_nothing_to_give_back);
    run("a closed end says so to every call", a_closed_end_says_so_to_every_call);
    run("between slices the end is busy for everybody else", between_slices_the_end_is_busy_for_everybody_else);
    run("who polls is told of the peer's end, after its messages", who_polls_is_told_of_the_peers_end_after_its_messages);
    run("who polls is told of the peer's death", who_polls_is_told_of_the_peers_death);
    run("the accelerator's table leads to the same functions", the_accelerators_table_leads_to_the_same_functions);
    return check_finish();
}
