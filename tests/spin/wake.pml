/* wake.pml - parking and waking, with store buffers; slices off.
 *
 * In words: a sender and a receiver, each of which parks when it finds no room, or no data, and each of which wakes the
 * other after every publication.  No schedule, and no moment at which a store buffer drains, leaves a side asleep while
 * what it waits for is there.  Nobody's sleep has an end but a wake-up, so that a lost one is a deadlock: Spin's
 * "invalid end state".
 *
 * The model is total store order (x86): every store waits in its CPU's buffer, in order, until some later moment; a
 * fence, a locked instruction and a system call wait for the own buffer to be empty.  Nobody here loads a word of its own
 * that still stands in its buffer, so that forwarding need not be modelled.  What weaker machines reorder beyond this
 * (payload after position, say) is the explorer's part.
 *
 *   plain          both sides fence
 *   ASYMMETRIC     the publisher doesn't; the waiter's membarrier() drains both buffers, or, through the hole that Linux
 *                  has, its own alone; then the first sleep ends by itself, but not before the stores that were in
 *                  the other's buffer when it began have drained (time-bounded TSO), and the waiter looks a second time
 *
 * BROKEN=1  the publisher doesn't fence, and the waiter's fence is all there is
 *        2  the waiter doesn't look again once it has said that it is parked (ASYMMETRIC: no error, since the second look,
 *           a millisecond later, sees whatever this one would have seen)
 *        3  the waker wakes, and then clears the word
 *        4  ASYMMETRIC: no second look
 *        5  the waiter doesn't fence between saying so and looking
 *        6  ASYMMETRIC: the first sleep may end before the other's store has drained
 *        7  ASYMMETRIC: the first sleep is all there is of the handshake, the second look looks at the data alone,
 *           and sleeps on although the word was cleared meanwhile
 */
#ifndef BROKEN
#define BROKEN 0
#endif
#ifndef MESSAGES
#define MESSAGES 4
#endif
#ifndef SLOTS
#define SLOTS 1
#endif

#define SENDER 0
#define RECEIVER 1
#define POSITION(side) (side)   /* how many were written, how many were read */
#define PARKED(side) (2 + side)

byte memory[4];
chan buffer[2] = [4] of { byte, byte }; /* stores on their way: where, what */
byte issued[2], drained[2];
bool asleep[2];

#define store(side, where, what) d_step { buffer[side]!where, what; issued[side]++ }
#define fence(side) (len(buffer[side]) == 0)

active [2] proctype Drain() /* process number 0 drains the sender's buffer, 1 the receiver's */
{
    byte where, what;
end:
    do
    :: d_step { buffer[_pid]?where, what -> memory[where] = what; drained[_pid]++; where = 0; what = 0 }
    od
}

/* Whether there is something for this side to do; one load of the other's position. */
#define ready(side, mine) \
    ((side == SENDER && mine - memory[POSITION(RECEIVER)] < SLOTS) || \
     (side == RECEIVER && memory[POSITION(SENDER)] != mine))

/* The kernel compares and goes to sleep in one step, and a system call drains the caller's buffer. */
inline sleep_while_parked(side)
{
    fence(side);
    atomic {
        if
        :: memory[PARKED(side)] == 1 -> asleep[side] = true
        :: else
        fi
    }
}

inline wait_until_woken(side) { !asleep[side] }

inline park(side, mine)
{
    store(side, PARKED(side), 1);
#ifdef ASYMMETRIC
    if
    :: fence(side) && fence(1 - side) /* the barrier */
    :: fence(side)                    /* its hole */
    fi;
#elif BROKEN != 5
    fence(side);
#endif
#if BROKEN == 2
    if
    :: true ->
#else
    if
    :: ready(side, mine)
    :: else ->
#endif
        sleep_while_parked(side);
#ifdef ASYMMETRIC
        due[side] = issued[1 - side];
        if
        :: !asleep[side]
#if BROKEN == 6
        :: atomic { asleep[side] -> asleep[side] = false } /* too early */
#elif BROKEN != 4
        :: atomic { asleep[side] && drained[1 - side] >= due[side] -> asleep[side] = false } /* a millisecond later */
#endif
        fi;
        due[side] = 0;
#if BROKEN != 4
        if
#if BROKEN == 7
        :: ready(side, mine)
        :: else -> store(side, PARKED(side), 1); fence(side); asleep[side] = true; wait_until_woken(side)
#else
        :: memory[PARKED(side)] == 0
        :: memory[PARKED(side)] == 1 ->
            if
            :: ready(side, mine)
            :: else -> sleep_while_parked(side); wait_until_woken(side)
            fi
#endif
        fi
#endif
#else
        wait_until_woken(side)
#endif
    fi;
    store(side, PARKED(side), 0)
}

inline wake_if_parked(side)
{
#if !defined(ASYMMETRIC) && BROKEN != 1
    fence(side);
#endif
    if
    :: memory[PARKED(1 - side)] == 0
    :: memory[PARKED(1 - side)] == 1 ->
        fence(side);
#if BROKEN == 3
        asleep[1 - side] = false;
        memory[PARKED(1 - side)] = 0
#else
        atomic { /* a locked exchange */
            was[side] = memory[PARKED(1 - side)];
            memory[PARKED(1 - side)] = 0
        }
        if
        :: was[side] == 1 -> asleep[1 - side] = false
        :: else
        fi;
        was[side] = 0
#endif
    fi
}

byte due[2], was[2];

proctype Side(byte side)
{
    byte mine; /* the own position */
    do
    :: mine < MESSAGES ->
        do
        :: ready(side, mine) -> break
        :: else -> park(side, mine)
        od;
        mine++;
        store(side, POSITION(side), mine);
        wake_if_parked(side)
    :: else -> break
    od
}

init { atomic { run Side(SENDER); run Side(RECEIVER) } }
