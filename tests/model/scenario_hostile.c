/* scenario_hostile.c - a peer that writes what it likes, while we look: an error in bounded time, and never more than
 * what we have checked.  (Every byte of a segment at random is the business of the fuzzer; here it is the moment that
 * matters.)
 */
#include "stage.h"

enum { LIAR = 1, VICTIM = 2, LENGTH = 64 };

static struct ipcr_end *liar, *victim;
static char out[LONGEST_MESSAGE];

static void set_up(uint32_t side)
{
    act_as(0);
    liar = taken_end(make_channel(0), 1 - side);
    act_as(1);
    victim = taken_end(attach_channel(), side);
}

static void receiver_is_lied_to(void) { set_up(IPCR_RECEIVER); }
static void sender_is_lied_to(void) { set_up(IPCR_SENDER); }

static void start(void (*lies)(void), void (*suffers)(void))
{
    model_start(LIAR, 0, lies);
    model_start(VICTIM, 1, suffers);
}

/* --- a length that changes after it was published ----------------------------------------------------------------- */

static void change_the_length(void)
{
    struct ipcr_record *record = (struct ipcr_record *)(void *)liar->segment->data;
    MUST(core()->send(liar, message(0, LENGTH), LENGTH, 0) == IPCR_OK);
    store_relaxed64(&record->length, CAPACITY * 4);
    store_relaxed64(&record->length, LENGTH / 2);
    store_relaxed64(&record->length, UINT64_MAX);
}

/* Whatever was loaded was checked, and it is what was used. */
static void receive_the_length(void)
{
    const int64_t length = receive(victim, out);
    MUST(length == LENGTH || length == LENGTH / 2 || length == IPCR_CORRUPT);
    MUST(length < 0 || memcmp(out, message(0, LENGTH), (size_t)length) == 0);
    MUST(length < 0 || victim->reader.position == (uint64_t)length + IPCR_RECORD_HEADER);
}

static void perform_length(void) { start(change_the_length, receive_the_length); }

/* --- a position that jumps ---------------------------------------------------------------------------------------- */

static void jump(void)
{
    ipcr_word64 *position = &liar->segment->header->at[IPCR_RECEIVER].position;
    store_release64(position, 8);
    store_release64(position, UINT64_MAX - 7);
    store_release64(position, 4);
    store_release64(position, CAPACITY * 2);
}

/* It sends what it believes there is room for, or is told. */
static void send_into_it(void)
{
    int rc = IPCR_OK;
    for (uint64_t i = 0; i < 5 && (rc == IPCR_OK || rc == IPCR_FULL); i++)
        rc = core()->send(victim, message(i, 1500), 1500, i);
    MUST(rc == IPCR_OK || rc == IPCR_FULL || rc == IPCR_CORRUPT);
    if (rc == IPCR_CORRUPT)
        MUST(core()->send(victim, message(0, 8), 8, 0) == IPCR_CORRUPT);
}

static void perform_position(void) { start(jump, send_into_it); }

/* --- the end's word ----------------------------------------------------------------------------------------------- */

static void flicker(void)
{
    ipcr_word32 *state = &liar->segment->header->signals[IPCR_SENDER].end_state;
    store_release32(state, 3);
    store_release32(state, IPCR_END_UNTAKEN);
    store_release32(state, 9 << 2 | IPCR_END_TAKEN);
    store_release32(state, 3);
}

static void wait_for_it(void)
{
    const int64_t rc = receive(victim, out); /* the byte is held all the while: no death */
    MUST(rc == IPCR_CORRUPT);
}

static void perform_state(void) { start(flicker, wait_for_it); }

static const struct scenario scenarios[] = {
    {
        .name = "hostile-length",
        .says = "A length that changes after it was published is loaded once: what was checked is what is used.",
        .set_up = receiver_is_lied_to,
        .perform = perform_length,
        .patience_ns = UINT64_MAX,
    },
    {
        .name = "hostile-position",
        .says = "A read position that jumps makes nobody write where it believes there is no room.",
        .set_up = sender_is_lied_to,
        .perform = perform_position,
        .patience_ns = UINT64_MAX,
    },
    {
        .name = "hostile-state",
        .says = "An end's word that means nothing is garbage, not a death and not an end.",
        .set_up = receiver_is_lied_to,
        .perform = perform_state,
        .patience_ns = UINT64_MAX,
    },
};
ADD_SCENARIOS(scenarios)
