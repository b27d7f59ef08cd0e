/* seats.c - see seats.h. */
#include "seats.h"
#include "ends.h"
#include "registry.h"

enum { PATIENCE_NS = 50000 }; /* between two tries to close: calls are short */

void ipcr_seat_make(struct ipcr_seat *seat) { seat->generation = ipcr_fork_generation; }

int ipcr_seat_enter(struct ipcr_seat *seat)
{
    uint32_t expected = IPCR_SEAT_FREE;
    if (seat->generation != ipcr_fork_generation)
        return IPCR_FORKED;
    if (!compare_exchange32(&seat->busy, &expected, IPCR_SEAT_INSIDE))
        return ipcr_seat_is_closing(seat) ? IPCR_CLOSED : IPCR_BUSY;
    if (!ipcr_seat_is_closing(seat))
        return IPCR_OK;
    ipcr_seat_leave(seat);
    return IPCR_CLOSED;
}

int ipcr_seat_enter_wait(struct ipcr_seat *seat, int resume)
{
    return resume ? ipcr_seat_return(seat) : ipcr_seat_enter(seat);
}

void ipcr_seat_wait(struct ipcr_seat *seat)
{
    store_relaxed64(&seat->waiter, ipcr_this_thread());
    store_release32(&seat->busy, IPCR_SEAT_WAITING);
}

int ipcr_seat_return(struct ipcr_seat *seat)
{
    uint32_t expected = IPCR_SEAT_WAITING;
    if (seat->generation != ipcr_fork_generation)
        return IPCR_FORKED;
    if (!compare_exchange32(&seat->busy, &expected, IPCR_SEAT_INSIDE))
        return IPCR_CLOSED; /* nobody else takes a waiter's place */
    if (!ipcr_seat_is_closing(seat))
        return IPCR_OK;
    ipcr_seat_leave(seat);
    return IPCR_CLOSED;
}

void ipcr_seat_give_up(struct ipcr_seat *seat)
{
    uint32_t expected = IPCR_SEAT_WAITING;
    /* the word first: `waiter` is then whoever left it so, or a later one, and we can't be both here and that */
    if (seat->generation == ipcr_fork_generation && load_acquire32(&seat->busy) == IPCR_SEAT_WAITING &&
        load_relaxed64(&seat->waiter) == ipcr_this_thread())
        compare_exchange32(&seat->busy, &expected, IPCR_SEAT_FREE);
}

bool ipcr_seat_close(struct ipcr_seat *seat, void (*wake)(void *end), void *end)
{
    if (seat->generation != ipcr_fork_generation || exchange_acq_rel32(&seat->closing, 1) != 0)
        return false;
    for (;;) {
        uint32_t idle = IPCR_SEAT_FREE, waiting = IPCR_SEAT_WAITING;
        fence_store_load(); /* whoever goes to sleep after this sees `closing`, or we wake it */
        wake(end);
        if (compare_exchange32(&seat->busy, &idle, IPCR_SEAT_CLOSED) ||
            compare_exchange32(&seat->busy, &waiting, IPCR_SEAT_CLOSED))
            return true;
        ipcr_os_sleep_ns(PATIENCE_NS);
    }
}
