/* gates.pml - many sleepers on one word (native/gates.h, queue_waits.c), with store buffers; slices off.
 *
 * In words: consumers look for a message, arm the gate, look again, and sleep; producers make a message visible, fence,
 * look at the gate, and when it is armed raise it and wake one.  Whoever was woken arms it again for the others, and when it
 * has taken a message, or leaves on a signal, and there is one more, wakes the next.  Then nobody sleeps for good beside a message:
 * when nothing moves any more, either no message is left, or no consumer that still wants one is asleep.  And once the queue
 * was shut, nobody sleeps.  Sleeps have no end but a wake-up, so that a lost one is there to be seen then (Judge).
 *
 * The word is bit 0, "somebody may sleep", and above it the number of times it was opened.  A producer's stores wait in its
 * buffer until some later moment (total store order; what weaker machines reorder beyond this is the explorer's part); a
 * fence, a locked instruction and a system call wait for it to be empty.  The consumers' stores are all locked.
 *
 *   TAKES      so many messages a consumer takes before it is busy with them for ever: then the others must be awake
 *   SIGNALS    so many sleeps that a signal ends, whose handler raises: the consumer is gone.  (A sleep that
 *              was ended by a signal has eaten no wake-up.  One that had, and whose handler raises before the next look, costs the
 *              others the rest of a slice, as a death does: no part of this model)
 *   SHUT       the queue is shut at some moment, by somebody else, and consumers leave
 *
 * BROKEN=1  the producer doesn't fence between the message and its look at the gate
 *        2  the waiter doesn't look again once it has armed the gate
 *        3  no number: the word is bit 0 alone
 *        4  whoever was woken doesn't arm the gate again
 *        5  whoever was woken and took a message wakes nobody else
 *        6  the waker wakes, and then changes the word
 *        7  shutting opens the gate only if it is armed (SHUT)
 *        8  whoever sleeps doesn't compare the word with what it was when it looked
 */
#ifndef BROKEN
#define BROKEN 0
#endif
#ifndef CONSUMERS
#define CONSUMERS 3
#endif
#ifndef PRODUCERS
#define PRODUCERS 2
#endif
#ifndef MESSAGES
#define MESSAGES 2 /* of each producer, at most */
#endif
#ifndef ALL
#define ALL 3      /* of all producers together */
#endif
#ifndef TAKES
#define TAKES 1
#endif
#ifndef SIGNALS
#define SIGNALS 0
#endif

byte there;                /* messages that can be taken, as memory has them */
byte buffered[PRODUCERS];    /* those that still stand in a producer's buffer */
byte parked;               /* the gate */
bool asleep[CONSUMERS];
bool shut;
byte put, signals;

/* The kernel wakes one of those who sleep on the word, whichever. */
inline wake_one()
{
    atomic {
        if
        :: asleep[0] -> asleep[0] = false
        :: asleep[1] -> asleep[1] = false
#if CONSUMERS > 2
        :: asleep[2] -> asleep[2] = false
#endif
        :: else
        fi
    }
}

#if CONSUMERS > 2
#define wake_all() asleep[0] = false; asleep[1] = false; asleep[2] = false
#define somebody_sleeps (asleep[0] || asleep[1] || asleep[2])
#else
#define wake_all() asleep[0] = false; asleep[1] = false
#define somebody_sleeps (asleep[0] || asleep[1])
#endif

#if BROKEN == 3
#define opened(word) 0
#else
#define opened(word) ((word) + 1)
#endif

/* ipcr_gate_open, of a gate that was seen armed: compare with that, change, wake. */
inline open(was)
{
#if BROKEN == 6
    wake_one();
    atomic { if :: parked == was -> parked = opened(was) :: else fi; was = 0 }
#else
    if
    :: atomic { parked == was -> parked = opened(was); was = 0 }; wake_one()
    :: atomic { parked != was -> was = 0 } /* somebody else opened it, and wakes */
    fi
#endif
}

/* Whoever came back from a sleep, and has taken something or can't: is there more, for the others? */
inline pass_on()
{
    if
    :: woken ->
        if
        :: atomic { parked & 1 -> woken = false; was = parked };
            if
            :: there > 0 -> open(was)
            :: atomic { there == 0 -> was = 0 }
            fi
        :: atomic { !(parked & 1) -> woken = false }
        fi
    :: else
    fi
}

active [PRODUCERS] proctype Drain() /* of the producers' buffers */
{
end:
    do
    :: d_step { buffered[_pid] > 0 -> buffered[_pid]--; there++ }
    od
}

proctype Producer(byte me)
{
    byte mine, was;
    do
    :: atomic { mine < MESSAGES && put < ALL -> mine++; put++; buffered[me]++ }
#if BROKEN != 1
        buffered[me] == 0; /* the fence */
#endif
        if
        :: atomic { parked & 1 -> was = parked }; buffered[me] == 0; open(was) /* locked */
        :: !(parked & 1)
        fi
    :: mine == MESSAGES || put == ALL -> break
    od
}

proctype Consumer(byte me)
{
    byte taken, expected, was;
    bool woken;
    do
    :: atomic { taken == TAKES || shut -> break }
    :: taken < TAKES && !shut ->
        if
        :: atomic { there > 0 -> there--; taken++ }
#if BROKEN != 5
            pass_on()
#endif
        :: there == 0 ->
            atomic { parked = parked | 1; expected = parked }; /* a locked instruction, and a fence */
            if
#if BROKEN != 2
            :: there > 0 || shut -> goto next
            :: there == 0 && !shut
#else
            :: true
#endif
            fi;
            atomic { /* the kernel compares, and puts to sleep */
                if
#if BROKEN == 8
                :: parked & 1 -> asleep[me] = true
#else
                :: parked == expected -> asleep[me] = true
#endif
                :: else
                fi;
                expected = 0
            };
end: /* a sleep that nothing ends: whether that is right, Judge says */
            if
            :: !asleep[me]
            :: atomic { asleep[me] && signals < SIGNALS -> signals++; asleep[me] = false }; goto interrupted
            fi;
#if BROKEN != 4
            atomic { parked = parked | 1; woken = true }
#else
            woken = true
#endif
        fi;
next:
        expected = 0
    od;
    goto gone;
interrupted:
    atomic { parked = parked | 1; woken = true };
    pass_on();
gone:
    woken = false
}

/* When nothing moves any more. */
active proctype Judge()
{
    timeout -> assert(there == 0 || !somebody_sleeps); assert(!shut || !somebody_sleeps)
}

#ifdef SHUT
proctype Shutter()
{
    byte was;
    bool go;
    shut = true; /* compare-and-swap */
#if BROKEN == 7
    was = parked;
    atomic {
        if
        :: (was & 1) && parked == was -> parked = opened(was); go = true
        :: else
        fi
    };
    if
    :: go -> atomic { wake_all() }
    :: else
    fi
#else
    atomic { parked = opened(parked | 1) };
    atomic { wake_all() }
#endif
}
#endif

init {
    byte i;
    atomic {
        do
        :: i < PRODUCERS -> run Producer(i); i++
        :: else -> break
        od;
        i = 0;
        do
        :: i < CONSUMERS -> run Consumer(i); i++
        :: else -> break
        od;
        i = 0;
#ifdef SHUT
        run Shutter()
#endif
    }
}
