/* test_parts_deaths.c - messages in parts from process to process, through the smallest ring: each arrives whole or
 * not at all, whoever is killed meanwhile. */
#include "numbered.h"

/* --- from process to process ---------------------------------------------------------------------------------- */

static void send_to_the_end(int ear, int mouth, void *arg)
{
    struct ipcr_end *w = taken(arg, IPCR_SENDER);
    say(mouth, 't');
    for (uint64_t number = 0; number < FEWER(3000, 400); number++)
        CHECK_IS(send_numbered(w, number, IPCR_FOREVER), IPCR_OK);
    finish(w, true);
    (void)hear(ear);
}

static void messages_in_parts_go_from_process_to_process(void)
{
    struct ipcr_segment *s = anonymous(SMALLEST, 0 - UINT64_C(1000000));
    struct child c = child_start(send_to_the_end, s);
    struct manner m = { .random = 9, .skips = true };
    CHECK_IS(hear(c.ear), 't');
    struct ipcr_end *r = taken(s, IPCR_RECEIVER);
    uint64_t number = 0;
    for (uint64_t expected = 0; expected < FEWER(3000, 400); expected++) {
        CHECK_IS(recv_numbered(r, &m, &number), IPCR_OK);
        CHECK_IS(number, expected);
    }
    CHECK_IS(recv_numbered(r, &m, &number), IPCR_END_OF_CHANNEL);
    say(c.mouth, 'q');
    child_finish(&c);
    finish(r, true);
    ipcr_segment_release(s);
}

enum { PARTS = 9, LONG = FIRST_PART + (PARTS - 1) * MOST_IN_PART };

static void send_a_long_one_and_wait(int ear, int mouth, void *arg)
{
    static uint8_t message[LONG];
    struct ipcr_end *w = taken(arg, IPCR_SENDER);
    const struct ipcr_piece piece = { .data = (const char *)message, .length = LONG };
    stamp(message, LONG, 7);
    say(mouth, 't');
    CHECK_IS(send_parts_until(w, &piece, 1, 0, IPCR_FOREVER), IPCR_OK);
    (void)ear;
    wait_for_end();
}

/* Killed behind each of its parts: the sender has published all that fits, and can't go on. */
static void a_sender_killed_behind_any_part_leaves_no_part_of_a_message(void)
{
    static uint8_t out[LONG];
    for (uint64_t released = 0; released < PARTS; released++) {
        struct ipcr_segment *s = anonymous(SMALLEST, 0 - (uint64_t)SMALLEST);
        struct ipcr_end *r = taken(s, IPCR_RECEIVER);
        struct child c = child_start(send_a_long_one_and_wait, s);
        const uint64_t published = released + 4 < PARTS ? released + 4 : PARTS;
        const uint64_t upto = released == 0 ? 0 : FIRST_PART + (released - 1) * MOST_IN_PART;
        CHECK_IS(hear(c.ear), 't');
        CHECK_IS(data_until(r, IPCR_FOREVER), IPCR_IN_PARTS);
        CHECK_IS(ipcr_parts_begin(r), LONG);
        CHECK_IS(read_until(r, out, 0, upto, IPCR_FOREVER), IPCR_OK);
        while (position_of(s, IPCR_SENDER) - s->start_position != published * (SMALLEST / 4))
            sched_yield();
        child_kill(&c);
        const bool whole = published == PARTS;
        CHECK_IS(read_until(r, out, 0, LONG, IPCR_FOREVER), whole ? IPCR_OK : IPCR_PEER_DIED);
        CHECK(is_stamped(out, LONG, 7) == whole);
        struct ipcr_end *w = taken(s, IPCR_SENDER);
        CHECK_IS(w->writer.sequence, whole);
        CHECK_IS(send_stamped(w, 10, 1), IPCR_OK);
        if (!whole)
            CHECK_IS(read_until(r, out, 0, LONG, IPCR_FOREVER), IPCR_GIVEN_UP);
        check_receives_stamped(r, 10, 1);
        CHECK_IS(ipcr_last_sequence(r), whole);
        finish(w, true);
        finish(r, true);
        ipcr_segment_release(s);
        memset(out, 0, sizeof out);
    }
}

static void send_until_killed(int ear, int mouth, void *arg)
{
    struct ipcr_end *w = taken(arg, IPCR_SENDER);
    (void)ear;
    say(mouth, 't');
    for (;;) /* its number is its sequence: a successor says again what was not said to the end */
        CHECK_IS(send_numbered(w, w->writer.sequence, IPCR_FOREVER), IPCR_OK);
}

/* ... and at any instant, by a count of what was received. */
static void successors_of_killed_senders_say_again_what_was_not_said_to_the_end(void)
{
    struct ipcr_segment *s = anonymous(SMALLEST, 0 - UINT64_C(500000));
    struct ipcr_end *r = taken(s, IPCR_RECEIVER);
    struct manner m = { .random = 12, .skips = true };
    uint64_t expected = 0, number = 0;
    for (int round = 0; round < FEWER(100, 25); round++) {
        struct child c = child_start(send_until_killed, s);
        CHECK_IS(hear(c.ear), 't');
        for (const uint64_t end = expected + random_next(&m.random) % 40; expected < end;) {
            const int rc = recv_numbered(r, &m, &number);
            CHECK_IS(rc, IPCR_OK);
            CHECK_IS(number, expected);
            CHECK_IS(ipcr_last_sequence(r), expected);
            expected++;
        }
        child_kill(&c);
        if (round % 8 != 0)
            continue; /* the next one comes before anybody has looked */
        int rc;
        while ((rc = recv_numbered(r, &m, &number)) == IPCR_OK)
            CHECK_IS(number, expected++);
        CHECK_IS(rc, IPCR_PEER_DIED);
    }
    finish(r, true);
    ipcr_segment_release(s);
}

/* --- receivers that die --------------------------------------------------------------------------------------- */

struct wake_of {
    struct ipcr_segment *segment;
    uint64_t next;      /* the number of the next message is at least this */
    uint32_t deaths;    /* receivers that were about to die */
    uint64_t index;     /* which receiver we are */
    uint8_t got[1 << 16];
};

enum { MORTALS = FEWER(24, 12) };

/* One that takes the end when its predecessor is gone, and dies in the middle of a message. */
static void receive_and_die(int ear, int mouth, void *arg)
{
    struct wake_of *k = arg;
    static uint8_t some[MOST_BYTES];
    struct ipcr_end *r = NULL;
    uint32_t by;
    const uint64_t index = k->index; /* as it was when we were made */
    struct manner m = { .random = index * 1000 + 1 };
    int rc;
    say(mouth, 'i');
    CHECK_IS(ipcr_end_open(k->segment, IPCR_RECEIVER, 0, &r), IPCR_OK);
    while (__atomic_load_n(&k->deaths, __ATOMIC_ACQUIRE) < index)
        ipcr_os_sleep_ns(200000); /* there are many of us: look now and then */
    while ((rc = ipcr_end_take(r, &by)) == IPCR_TAKEN) /* about to die, not dead */
        sched_yield();
    CHECK_IS(rc, IPCR_OK);
    for (uint64_t left = random_next(&m.random) % 12; left > 0 || index == MORTALS; left--) {
        uint64_t number = 0;
        rc = recv_numbered(r, &m, &number);
        if (rc == IPCR_END_OF_CHANNEL) {
            CHECK_IS(index, MORTALS);
            finish(r, true);
            return;
        }
        CHECK_IS(rc, IPCR_OK);
        CHECK(number >= k->next);
        CHECK(k->got[number] == 0);
        k->got[number] = 1;
        k->next = number + 1;
    }
    while ((rc = data_until(r, IPCR_FOREVER)) == IPCR_OK) {
        const int64_t length = ipcr_peek(r); /* whole: the next one gets it again */
        CHECK(length >= 0);
        if (index % 2 == 0)
            break;
        k->got[IPCR_INFO_TYPE(ipcr_last_info(r))] = 1;
        k->next = IPCR_INFO_TYPE(ipcr_last_info(r)) + 1;
        CHECK_IS(ipcr_release(r), IPCR_OK);
    }
    if (rc == IPCR_IN_PARTS) {
        const uint64_t length = LENGTH_OF(ipcr_parts_begin(r));
        CHECK_IS(read_until(r, some, 0, random_next(&m.random) % length, IPCR_FOREVER), IPCR_OK);
    }
    __atomic_fetch_add(&k->deaths, 1, __ATOMIC_RELEASE);
    kill(getpid(), SIGKILL);
    (void)ear;
}

static void successors_of_killed_receivers_get_whole_messages_only(void)
{
    struct wake_of *k = shared_memory(sizeof *k);
    struct child children[MORTALS + 1];
    uint8_t *sent = calloc(sizeof k->got, 1);
    CHECK(sent != NULL);
    k->segment = anonymous(SMALLEST, 0 - UINT64_C(200000));
    for (k->index = 0; k->index <= MORTALS; k->index++) {
        children[k->index] = child_start(receive_and_die, k);
        CHECK_IS(hear(children[k->index].ear), 'i');
    }
    struct ipcr_end *w = taken(k->segment, IPCR_SENDER);
    uint64_t number = 0, undelivered = 0;
    while (__atomic_load_n(&k->deaths, __ATOMIC_ACQUIRE) < MORTALS || number % 8 != 0) {
        CHECK(number < sizeof k->got);
        const int rc = send_numbered(w, number, IPCR_FOREVER);
        CHECK(rc == IPCR_OK || rc == IPCR_PEER_DIED);
        sent[number] = rc == IPCR_OK;
        undelivered += rc != IPCR_OK;
        number++;
    }
    finish(w, true); /* the last one reads to the end */
    for (int i = 0; i < MORTALS; i++)
        CHECK(WIFSIGNALED(child_wait(&children[i])));
    child_finish(&children[MORTALS]);
    for (uint64_t i = 0; i < number; i++)
        CHECK(k->got[i] || !sent[i]);
    CHECK(undelivered > 0);
    ipcr_segment_release(k->segment);
    munmap(k, sizeof *k);
    free(sent);
}

int main(void)
{
    check_begin();
    run("messages in parts go from process to process", messages_in_parts_go_from_process_to_process);
    run("a sender killed behind any part leaves no part of a message",
        a_sender_killed_behind_any_part_leaves_no_part_of_a_message);
    run("successors of killed senders say again what was not said to the end",
        successors_of_killed_senders_say_again_what_was_not_said_to_the_end);
    run("successors of killed receivers get whole messages only",
        successors_of_killed_receivers_get_whole_messages_only);
    return check_finish();
}
