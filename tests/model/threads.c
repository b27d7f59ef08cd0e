/* threads.c - see threads.h. */
#include "threads.h"

struct ipcr_end *sender, *receiver;
uint64_t sent, got;
static char outs[FIBERS][LONGEST_MESSAGE];
static unsigned seen; /* a bit for each message */

char *out(void) { return outs[model_running]; }

static void set_up(uint32_t side)
{
    act_as(0);
    struct ipcr_end *ours = taken_end(make_channel(UINT64_MAX - 4095), side);
    act_as(1);
    struct ipcr_end *theirs = taken_end(attach_channel(), 1 - side);
    sender = side == IPCR_SENDER ? ours : theirs;
    receiver = side == IPCR_RECEIVER ? ours : theirs;
}

void sending_threads(void) { set_up(IPCR_SENDER); }
void receiving_threads(void) { set_up(IPCR_RECEIVER); }

void untaken_sender(void)
{
    act_as(0);
    sender = open_end(make_channel(UINT64_MAX - 4095), IPCR_SENDER);
    act_as(1);
    receiver = taken_end(attach_channel(), IPCR_RECEIVER);
}

void start_threads(void (*other)(void), void (*first)(void), void (*second)(void))
{
    sent = got = seen = 0;
    if (other != NULL)
        model_start(OTHER, 1, other);
    model_start(FIRST, 0, first);
    model_start(SECOND, 0, second);
}

void note_message(const char *bytes, int64_t length, uint64_t number)
{
    MUST(length == LENGTH && number < MESSAGES && is_message(bytes, number, LENGTH));
    MUST((seen & 1u << number) == 0);
    seen |= 1u << number;
    got++;
}
