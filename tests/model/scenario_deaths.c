/* scenario_deaths.c - one side dies between any two accesses, and a successor goes on. */
#include "stage.h"

enum { FIRST = 1, OTHER = 2, SUCCESSOR = 3, MESSAGES = 3, IN_PARTS = 5000 };

static struct ipcr_end *sender, *receiver, *next_one;
static char outs[2][LONGEST_MESSAGE];
static uint64_t sent, received; /* calls that returned, over both lives of the side */
static bool finished;

/* 1300 bytes, so that a few fill the ring; every second one in parts where the scenario says so. */
static bool large;
static uint64_t length_of(uint64_t number) { return large && number % 2 == 1 ? IN_PARTS : 1300 + number; }

static void set_up_with_successor(uint32_t side)
{
    act_as(0);
    struct ipcr_segment *segment = make_channel(UINT64_MAX - 4095);
    struct ipcr_end *mortal = taken_end(segment, side);
    act_as(1);
    struct ipcr_end *other = taken_end(attach_channel(), 1 - side);
    act_as(2);
    next_one = open_end(attach_channel(), side);
    sender = side == IPCR_SENDER ? mortal : other;
    receiver = side == IPCR_RECEIVER ? mortal : other;
}

static void sender_dies(void) { set_up_with_successor(IPCR_SENDER); }
static void receiver_dies(void) { set_up_with_successor(IPCR_RECEIVER); }

static int send_one(struct ipcr_end *end, uint64_t number)
{
    const uint64_t length = length_of(number);
    return length > CAPACITY ? send_in_parts(end, number, length) : send_message(end, number, length);
}

static int64_t receive_one(struct ipcr_end *end, char *out)
{
    int64_t rc;
    do {
        rc = receive(end, out);
        if (rc == IPCR_IN_PARTS)
            rc = receive_parts(end, out);
    } while (rc == IPCR_GIVEN_UP); /* something else stands there now */
    return rc;
}

/* Wait for the end, as a successor does; false when everything is over without us. */
static bool take_over(void)
{
    uint32_t by;
    for (;;) {
        const int rc = core()->end_take(next_one, &by);
        if (rc == IPCR_OK)
            return true;
        MUST(rc == IPCR_TAKEN);
        if (finished)
            return false;
        ipcr_os_sleep_ns(1000000);
    }
}

/* --- a sender dies ---------------------------------------------------------------------------------------------- */

static void send_until_death(void)
{
    for (; sent < MESSAGES; sent++)
        MUST(send_one(sender, sent) == IPCR_OK);
    finished = true;
}

/* The ring says how many whole messages the dead sender has published: the successor's numbers go on there. */
static void send_the_rest(void)
{
    if (!take_over())
        return;
    struct ipcr_stats stats;
    MUST(core()->stats_of_segment(next_one->segment, &stats) == IPCR_OK);
    const uint64_t published = stats.side[IPCR_SENDER].messages;
    MUST(published == sent || published == sent + 1); /* published, but the call had not returned */
    for (sent = published; sent < MESSAGES; sent++)
        MUST(send_one(next_one, sent) == IPCR_OK);
    finished = true;
}

static void receive_all(void)
{
    while (received < MESSAGES) {
        const int64_t length = receive_one(receiver, outs[0]);
        if (length == IPCR_PEER_DIED)
            continue; /* a successor comes */
        MUST(length == (int64_t)length_of(received) && is_message(outs[0], received, length_of(received)));
        MUST(core()->last_sequence(receiver) == received);
        received++;
    }
}

static void begin(void)
{
    sent = received = 0;
    finished = false;
}

static void perform_sender_dies(void)
{
    begin();
    model_start(FIRST, 0, send_until_death);
    model_start(OTHER, 1, receive_all);
    model_start(SUCCESSOR, 2, send_the_rest);
    model_fibers[FIRST].mortal = true;
}

static void perform_sender_dies_whole(void)
{
    large = false;
    perform_sender_dies();
}

static void perform_sender_dies_in_parts(void)
{
    large = true;
    perform_sender_dies();
}

static void all_received(void) { MUST(received == MESSAGES); }

/* --- a receiver dies -------------------------------------------------------------------------------------------- */

static void send_all(void)
{
    while (sent < MESSAGES) {
        const int rc = send_one(sender, sent);
        if (rc == IPCR_PEER_DIED)
            continue; /* nobody has it: once more, to the successor */
        MUST(rc == IPCR_OK);
        sent++;
    }
}

static void receive_numbered(struct ipcr_end *end, char *out)
{
    while (received < MESSAGES) {
        const int64_t length = receive_one(end, out);
        const uint64_t number = IPCR_INFO_TYPE(core()->last_info(end));
        MUST(length == (int64_t)length_of(number) && is_message(out, number, (uint64_t)length));
        MUST(number == received); /* none twice, and none that the sender believes to be taken is missing */
        received++;
    }
    finished = true;
}

static void receive_until_death(void) { receive_numbered(receiver, outs[0]); }

static void receive_the_rest(void)
{
    if (!take_over())
        return;
    struct ipcr_stats stats;
    MUST(core()->stats_of_segment(next_one->segment, &stats) == IPCR_OK);
    const uint64_t taken = stats.side[IPCR_RECEIVER].messages;
    MUST(taken == received || taken == received + 1);
    received = taken;
    receive_numbered(next_one, outs[1]);
}

static void perform_receiver_dies(void)
{
    begin();
    model_start(FIRST, 0, receive_until_death);
    model_start(OTHER, 1, send_all);
    model_start(SUCCESSOR, 2, receive_the_rest);
    model_fibers[FIRST].mortal = true;
}

static void perform_receiver_dies_whole(void)
{
    large = false;
    perform_receiver_dies();
}

static void perform_receiver_dies_in_parts(void)
{
    large = true;
    perform_receiver_dies();
}

static void all_sent(void) { MUST(sent == MESSAGES && received == MESSAGES); }

#define MORTAL .deaths = 1, .patience_ns = UINT64_MAX
static const struct scenario scenarios[] = {
    {
        .name = "dying-sender",
        .says = "A sender dies anywhere: what it had published arrives, and the successor goes on without a gap.",
        .set_up = sender_dies,
        .perform = perform_sender_dies_whole,
        .look = all_received,
        MORTAL,
    },
    {
        .name = "dying-sender-parts",
        .says = "The same in the middle of a message in parts: the receiver sees whole messages only.",
        .set_up = sender_dies,
        .perform = perform_sender_dies_in_parts,
        .look = all_received,
        MORTAL,
    },
    {
        .name = "dying-receiver",
        .says = "A receiver dies anywhere: its successor gets all that it had not taken.",
        .set_up = receiver_dies,
        .perform = perform_receiver_dies_whole,
        .look = all_sent,
        MORTAL,
    },
    {
        .name = "dying-receiver-parts",
        .says = "The same in the middle of a message in parts: nobody is told that a lost message was taken.",
        .set_up = receiver_dies,
        .perform = perform_receiver_dies_in_parts,
        .look = all_sent,
        MORTAL,
    },
};
ADD_SCENARIOS(scenarios)
