/* multicast.pml - one publisher, and subscribers that join, read, leave and die meanwhile (native/multicast.h, publishing.c,
 * multicast_room.c, joining.c, subscribing.c, multicast_waits.c), with store buffers; slices off, but for those that find a death.
 *
 * In words:
 *   1 a subscriber that is waited for gets every message from where it began, in order and whole: nothing that it has still to
 *     read is overwritten, whether it began at the oldest or at the latest, and whenever it joined;
 *   2 one that was evicted alive (EVICT), a lossy one and an observer never believe what has been overwritten: what they get
 *     is whole, and lost + received is where they are;
 *   3 nobody is evicted who lives, but with EVICT; and a dead one is waited for by nobody;
 *   4 nobody sleeps for ever while what it waits for is there: a publisher beside room, a subscriber beside a message.
 *
 * A message is two words in one of SLOTS places, written one after the other.  The publisher that needs the place of
 * message n says first that what is up to n may be overwritten (OLDEST); then it fences, and looks at everybody.  Who joins
 * says so (JOINING), fences, reads where to begin, and says that it has (ACTIVE).  The memory is total store order, as in
 * wake.pml: stores wait in their CPU's buffer, in order, until some later moment; a fence, a locked instruction and a system
 * call wait for the own buffer to be empty.  What weaker machines reorder beyond this is the explorer's part.
 *
 * The publisher sleeps on ROOM_PARKED, and whoever is WANTed wakes it; subscribers sleep at a gate that is opened for all.  Sleeps
 * have no end but a wake-up, so that a lost one is a deadlock ("invalid end state"); but a publisher wakes at the end of a
 * slice if one that is in its way is dead, or, with EVICT, joining.  (In life it does so each slice, and wants to be woken when there is
 * room for some more messages.)  The publisher doesn't die: that is takeover.pml's part.
 *
 *   SUBSCRIBERS  so many, each with a number of its own
 *   OBSERVERS    so many beside them
 *   DEATHS       so many in all; another one comes, with the dead one's number, or none does
 *   EVICT        laggards are evicted alive
 *   STAY         nobody leaves before the last message
 *   LOSSY        nobody is waited for
 *   ASYMMETRIC   after a message, and after a step of a subscriber, nobody fences.  Whoever goes to sleep runs membarrier,
 *                whose hole is always open here, so that it does nothing; the first sleep ends by itself, but not before the
 *                stores that were in the other's buffer when it began have drained, and a second look follows (wake.pml)
 *
 * BROKEN=1  the naive join: the publisher doesn't look again behind what it has announced
 *        2  it looks again, but doesn't fence
 *        3  who joins reads where to begin before it says that it joins
 *        4  it says so, but doesn't fence
 *        5  the publisher goes on beside somebody who joins
 *        6  who is in the way at the end of a slice is evicted without a look at its lock byte
 *        7  states have no generation (DEATHS)
 *        8  a copy is believed without a look whether the message was there until then (EVICT, LOSSY or OBSERVERS)
 *        9  what is overwritten is announced after it was begun with (LOSSY)
 *       10  who goes on at the latest counts the lost up to the oldest (LOSSY)
 *       11  the publisher sleeps without a second look
 *       12  a subscriber sleeps without a second look
 *       13  who has joined doesn't wake the publisher
 *       14  who leaves doesn't wake it
 *       15  who was evicted while it joined goes on (EVICT)
 *       16  the one that the publisher slept for has come so far: nobody else is looked at (SUBSCRIBERS=2)
 *       17  the publisher looks at the gate without a fence
 *       18  a subscriber says that it has read a message before it has
 *       19  the gate has no number (SUBSCRIBERS=2)
 *       20  a subscriber looks for the sleeping publisher without a fence
 *       21  the dead are never looked for (DEATHS)
 *       22  the message is published before its second word
 *       23  ASYMMETRIC: no second look by a subscriber
 *       24  ASYMMETRIC: nor by the publisher
 *       25  ASYMMETRIC: a subscriber's second look is at the messages alone, and it sleeps on although the gate was opened
 */
#ifndef BROKEN
#define BROKEN 0
#endif
#ifndef MESSAGES
#define MESSAGES 4
#endif
#ifndef SUBSCRIBERS
#define SUBSCRIBERS 1
#endif
#ifndef OBSERVERS
#define OBSERVERS 0
#endif
#ifndef DEATHS
#define DEATHS 0
#endif
#ifndef STOPS
#define STOPS 1    /* with EVICT: so many slices end while somebody alive joins */
#endif
#define SLOTS 2

#define FREE 0
#define JOINING 1
#define ACTIVE 2
#define EVICTED 3
#define kind(state) ((state) & 3)
#define with(state, what) (((state) & 252) | (what))

#define OLDEST 0
#define PUBLISHED 1
#define FIRST(n) (2 + (n) % SLOTS)
#define SECOND(n) (4 + (n) % SLOTS)
#define ROOM_PARKED 6
#define WANTED 7 /* 16 * whom the publisher waits for + where it must be */
#define GATE 8
#define STATE(i) (9 + 2 * (i))
#define NEXT(i) (10 + 2 * (i))

#define PUBLISHER SUBSCRIBERS /* number of its buffer */

byte memory[9 + 2 * SUBSCRIBERS];
chan buffer[SUBSCRIBERS + 1] = [4] of { byte, byte }; /* stores on their way: where, what */
bool held[SUBSCRIBERS];     /* the lock bytes */
bool asleep[SUBSCRIBERS + 1];
byte deaths, stops; /* slices that ended */
byte blamed;        /* whom the publisher waits for */
#ifdef ASYMMETRIC
byte due[SUBSCRIBERS + 1]; /* stores that stood in the other's buffer when this one fell asleep */
#endif

#define store(who, where, what) buffer[who]!where, what
#define fence(who) (len(buffer[who]) == 0)

active [SUBSCRIBERS + 1] proctype Drain() /* process number i drains buffer i */
{
    byte where, what;
end:
    do
    :: d_step {
        buffer[_pid]?where, what -> memory[where] = what;
        where = 0; what = 0;
#ifdef ASYMMETRIC
        if
        :: _pid == PUBLISHER ->
            do
            :: where < SUBSCRIBERS -> due[where] = (due[where] == 0 -> 0 : due[where] - 1); where++
            :: else -> break
            od;
            where = 0
        :: _pid == blamed && due[PUBLISHER] > 0 -> due[PUBLISHER]--
        :: else
        fi
#endif
    }
    od
}

/* --- the publisher ------------------------------------------------------------------------------------------------------ */

#define is_in_the_way(i) \
    (kind(memory[STATE(i)]) == JOINING || (kind(memory[STATE(i)]) == ACTIVE && memory[NEXT(i)] < least))
#if BROKEN == 6
#define slice_shows(i) is_in_the_way(i)
#elif BROKEN == 21
#define slice_shows(i) false
#elif defined(EVICT)
#define slice_shows(i) (is_in_the_way(i) && (!held[i] || (kind(memory[STATE(i)]) == JOINING && stops < STOPS)))
#else
#define slice_shows(i) (is_in_the_way(i) && !held[i])
#endif
#if SUBSCRIBERS == 1
#define a_slice_shows slice_shows(0)
#else
#define a_slice_shows (slice_shows(0) || slice_shows(1))
#endif

/* Compare-and-exchange of a state: a locked instruction. */
inline evict()
{
    atomic {
        fence(PUBLISHER) ->
        if
        :: memory[STATE(i)] == seen -> memory[STATE(i)] = with(seen, EVICTED)
        :: else
        fi
    }
}

inline look_at_all()
{
    atomic { clear = true; i = 0 };
    do
    :: i < SUBSCRIBERS ->
        seen = memory[STATE(i)];
        if
#if BROKEN != 5
        :: kind(seen) == JOINING -> atomic { clear = false; blamed = i }
#endif
        :: kind(seen) == ACTIVE ->
            if
            :: memory[NEXT(i)] >= least
            :: atomic { memory[NEXT(i)] < least ->
#ifndef EVICT
                clear = false; blamed = i }
#else
                skip }; evict(); goto look_again /* it may have left, and be another one */
#endif
            fi
        :: else
        fi;
        i++
    :: atomic { i == SUBSCRIBERS -> i = 0; seen = 0; break }
    od
}

#define has_come(state) \
    (kind(state) == FREE || kind(state) == EVICTED || (kind(state) == ACTIVE && memory[NEXT(blamed)] >= least))

inline sleep_while_parked() /* the kernel compares, and goes to sleep */
{
    atomic {
        if
        :: memory[ROOM_PARKED] == 1 -> asleep[PUBLISHER] = true
        :: else
        fi
    }
}

inline sleep_for_a_slice()
{
    if
    :: !asleep[PUBLISHER]
    :: atomic { asleep[PUBLISHER] && a_slice_shows -> asleep[PUBLISHER] = false; slice_is_over = true; stops++ }
    fi
}

/* Sleep until the blamed one has come so far, or has gone. */
inline wait_for_room()
{
    store(PUBLISHER, WANTED, 16 * blamed + least);
    store(PUBLISHER, ROOM_PARKED, 1);
    fence(PUBLISHER);
#if BROKEN == 11
    seen = ACTIVE;
    if
    :: true ->
#else
    seen = memory[STATE(blamed)];
    if
    :: has_come(seen)
    :: else ->
#endif
#if defined(ASYMMETRIC) && BROKEN != 24
        atomic { sleep_while_parked(); due[PUBLISHER] = len(buffer[blamed]) };
        if
        :: !asleep[PUBLISHER]
        :: atomic { asleep[PUBLISHER] && due[PUBLISHER] == 0 -> asleep[PUBLISHER] = false }; /* a millisecond later */
            if
            :: memory[ROOM_PARKED] == 0
            :: memory[ROOM_PARKED] == 1 ->
                seen = memory[STATE(blamed)];
                if
                :: has_come(seen)
                :: else -> sleep_while_parked(); sleep_for_a_slice()
                fi
            fi
        fi;
        due[PUBLISHER] = 0
#else
        sleep_while_parked();
        sleep_for_a_slice()
#endif
    fi;
    seen = 0;
    store(PUBLISHER, ROOM_PARKED, 0);
    if
    :: slice_is_over ->
        atomic { slice_is_over = false; i = 0 };
        do
        :: i < SUBSCRIBERS ->
            seen = memory[STATE(i)];
            if
            :: kind(seen) == JOINING || (kind(seen) == ACTIVE && memory[NEXT(i)] < least) ->
#if BROKEN == 6
                evict()
#elif defined(EVICT)
                evict()
#else
                if
                :: !held[i] -> evict()
                :: held[i]
                fi
#endif
            :: else
            fi;
            i++
        :: atomic { i == SUBSCRIBERS -> i = 0; seen = 0; break }
        od
    :: else
    fi
}

proctype Publisher()
{
    byte n, free, announced, least, i, seen;
    bool clear, slice_is_over;
    do
    :: n < MESSAGES ->
        if
        :: n + 1 - SLOTS <= free -> goto room
        :: else -> least = n + 1 - SLOTS
        fi;
#ifdef LOSSY
#if BROKEN != 9
        store(PUBLISHER, OLDEST, least);
#endif
#else
look_again:
        look_at_all();
        if
        :: !clear ->
            wait_for_room();
#if BROKEN == 16
            goto announce;
#endif
            goto look_again
        :: clear
        fi;
#if BROKEN == 16
announce:
#endif
        if
        :: announced < least -> atomic { announced = least; store(PUBLISHER, OLDEST, least) }
        :: else
        fi;
#if BROKEN != 2
        fence(PUBLISHER);
#endif
#if BROKEN != 1 && BROKEN != 16
        look_at_all();
        if
        :: !clear -> wait_for_room(); goto look_again
        :: clear
        fi;
#endif
#endif
        atomic { free = least; least = 0; blamed = 0; clear = false };
room:
        store(PUBLISHER, FIRST(n), n + 1);
#if BROKEN == 9
        if
        :: n >= SLOTS -> store(PUBLISHER, OLDEST, n + 1 - SLOTS)
        :: else
        fi;
#endif
#if BROKEN == 22
        store(PUBLISHER, PUBLISHED, n + 1);
        store(PUBLISHER, SECOND(n), n + 1);
#else
        store(PUBLISHER, SECOND(n), n + 1);
        store(PUBLISHER, PUBLISHED, n + 1);
#endif
        n++;
#if BROKEN != 17 && !defined(ASYMMETRIC)
        fence(PUBLISHER);
#endif
        if
        :: (memory[GATE] & 1) == 0
        :: (memory[GATE] & 1) == 1 ->
            atomic {
                fence(PUBLISHER) ->
                if
#if BROKEN == 19
                :: (memory[GATE] & 1) == 1 -> memory[GATE] = 0
#else
                :: (memory[GATE] & 1) == 1 -> memory[GATE] = memory[GATE] + 1
#endif
                :: else
                fi
            };
            d_step {
                i = 0;
                do
                :: i < SUBSCRIBERS -> asleep[i] = false; i++
                :: else -> break
                od;
                i = 0
            }
        fi
    :: else -> break
    od;
    atomic { n = 0; free = 0; announced = 0 }
}

/* --- who reads ---------------------------------------------------------------------------------------------------------- */

inline wake_publisher()
{
    atomic { /* a locked exchange */
        fence(id) ->
        if
        :: memory[ROOM_PARKED] == 1 -> memory[ROOM_PARKED] = 0; asleep[PUBLISHER] = false
        :: else
        fi
    }
}

inline tell_publisher()
{
#if BROKEN != 20 && !defined(ASYMMETRIC)
    fence(id);
#endif
    if
    :: memory[ROOM_PARKED] == 1 ->
        if
        :: memory[WANTED] / 16 == id && next >= memory[WANTED] % 16 -> wake_publisher()
        :: else
        fi
    :: else
    fi
}

inline sleep_while_armed() /* the kernel compares, and goes to sleep */
{
    atomic {
        if
        :: memory[GATE] == expected -> asleep[id] = true
        :: else
        fi
    }
}

inline sleep_at_gate()
{
    atomic {
        fence(id) -> memory[GATE] = memory[GATE] | 1;
        expected = memory[GATE]
    };
    if
#if BROKEN != 12
    :: memory[PUBLISHED] != next
    :: else ->
#else
    :: true ->
#endif
#if defined(ASYMMETRIC) && BROKEN != 23
        atomic { sleep_while_armed(); due[id] = len(buffer[PUBLISHER]) };
        if
        :: !asleep[id]
        :: atomic { asleep[id] && due[id] == 0 -> asleep[id] = false }; /* a millisecond later */
            if
#if BROKEN == 25
            :: memory[PUBLISHED] != next
            :: else -> asleep[id] = true; !asleep[id]
#else
            :: memory[GATE] != expected
            :: memory[GATE] == expected ->
                if
                :: memory[PUBLISHED] != next
                :: else -> sleep_while_armed(); !asleep[id]
                fi
#endif
            fi
        fi;
        due[id] = 0
#else
        sleep_while_armed();
        !asleep[id]
#endif
    fi;
    expected = 0
}

#define may_die if :: atomic { deaths < DEATHS -> deaths++ }; goto killed :: true fi

#ifndef LOSSY
proctype Subscriber(byte id)
{
    byte next, one, two, mine, expected;
born:
    atomic { !held[id] -> held[id] = true };
again:
#if BROKEN == 3
    if
    :: next = memory[OLDEST]
    :: next = memory[PUBLISHED]
    fi;
#endif
#if BROKEN == 7
    mine = ACTIVE;
#else
    mine = with(memory[STATE(id)] + 4, ACTIVE);
#endif
    store(id, STATE(id), with(mine, JOINING));
    may_die;
#if BROKEN != 4
    fence(id);
#endif
#if BROKEN != 3
    if
    :: next = memory[OLDEST]
    :: next = memory[PUBLISHED]
    fi;
#endif
    store(id, NEXT(id), next);
    may_die;
    atomic { /* compare-and-exchange */
        fence(id) ->
        if
#if BROKEN == 15
        :: true -> memory[STATE(id)] = mine
#else
        :: memory[STATE(id)] == with(mine, JOINING) -> memory[STATE(id)] = mine
        :: else -> next = 0; mine = 0; goto again
#endif
        fi
    };
#if BROKEN != 13
    tell_publisher();
#endif
reading:
    do
    :: next < MESSAGES ->
        may_die;
        if
        :: memory[PUBLISHED] == next ->
            sleep_at_gate();
            goto reading
        :: memory[PUBLISHED] != next
        fi;
#if BROKEN == 18
        store(id, NEXT(id), next + 1);
        tell_publisher();
#endif
        one = memory[FIRST(next)];
        two = memory[SECOND(next)];
#if defined(EVICT) && BROKEN != 8
        if
        :: memory[STATE(id)] != mine -> break /* lagged out */
        :: else
        fi;
#endif
        atomic { assert(one == next + 1 && two == next + 1); one = 0; two = 0; next++ }; /* 1, 2 */
#if BROKEN != 18
        store(id, NEXT(id), next);
        tell_publisher()
#endif
#ifdef STAY
    :: next == MESSAGES -> break
#else
    :: true -> break
#endif
    od;
    may_die;
    atomic {
#ifndef EVICT
        fence(id) -> assert(memory[STATE(id)] == mine); /* 3 */
#endif
        one = 0; two = 0
    };
    store(id, STATE(id), with(mine, FREE));
    fence(id);
#if BROKEN != 14
    if
    :: memory[ROOM_PARKED] == 1 -> wake_publisher()
    :: memory[ROOM_PARKED] == 0
    fi;
#endif
    atomic { held[id] = false; goto gone };
killed: /* what stands in the buffer reaches memory before the kernel lets go of the lock */
    atomic { fence(id) -> held[id] = false; next = 0; one = 0; two = 0; mine = 0; expected = 0 };
    if
    :: goto born
    :: goto gone
    fi;
gone:
    atomic { next = 0; one = 0; two = 0; mine = 0; expected = 0 }
}
#endif

/* A lossy subscriber, which sleeps at the gate (id < SUBSCRIBERS), or an observer, which polls. */
proctype Lossy(byte id)
{
    byte next, one, two, lost, received, oldest, latest, expected, began;
    if
    :: next = memory[OLDEST]
    :: next = memory[PUBLISHED]
    fi;
    began = next;
reading:
    do
    :: next < MESSAGES ->
        if
        :: memory[PUBLISHED] == next ->
            if
            :: id < SUBSCRIBERS -> sleep_at_gate()
            :: id >= SUBSCRIBERS -> memory[PUBLISHED] != next
            fi;
            goto reading
        :: memory[PUBLISHED] != next
        fi;
        one = memory[FIRST(next)];
        two = memory[SECOND(next)];
#if BROKEN != 8
        if
        :: memory[OLDEST] > next ->
            oldest = memory[OLDEST];
            latest = memory[PUBLISHED];
            atomic {
                one = 0; two = 0;
                if
                :: lost = lost + oldest - next; next = oldest
#if BROKEN == 10
                :: latest > oldest -> lost = lost + oldest - next; next = latest - 1
#else
                :: latest > oldest -> lost = lost + latest - 1 - next; next = latest - 1
#endif
                fi;
                oldest = 0; latest = 0
            };
            goto reading
        :: else
        fi;
#endif
        atomic {
            assert(one == next + 1 && two == next + 1); /* 2 */
            one = 0; two = 0; received++; next++;
            assert(lost + received == next - began)
        }
    :: else -> break
    od;
    atomic { next = 0; one = 0; two = 0; lost = 0; received = 0; expected = 0; began = 0 }
}

init {
    byte i;
    atomic {
        run Publisher();
        do
        :: i < SUBSCRIBERS ->
#ifdef LOSSY
            run Lossy(i);
#else
            run Subscriber(i);
#endif
            i++
        :: i >= SUBSCRIBERS && i < SUBSCRIBERS + OBSERVERS -> run Lossy(i); i++
        :: else -> break
        od;
        i = 0
    }
}
