/* leases.pml - many consumers on one producer's ring: lease, acknowledge, give back, die, and be repaired.
 *
 * In words:
 *   1 at most one live holder has a message, unless a lease was allowed to expire (EXPIRY);
 *   2 no message is lost: each ends as acknowledged, or as dead after MOST_COUNT redeliveries, exactly once;
 *   3 an acknowledgement succeeds only for the message it was given for, and while the lease is still the holder's: a
 *     stale one fails;
 *   4 the producer uses a slot again only when the message in it, and every one before, has ended (space by prefix);
 *   5 no lease outlives its holder: a dead man's message is delivered again, and nobody waits for ever.
 *
 * One producer, CONSUMERS consumers, a ring of SLOTS slots.  A slot's word holds lap, phase, holder and count, and changes
 * by one compare-and-exchange.  A consumer first locks the byte of a free holder slot, sweeps what a dead predecessor in
 * this slot still leases, and then works: lease, acknowledge, give back, or repair a lease whose holder's byte is free.
 * It may hold two leases at a time, and may die at any step (DEATHS times in all); then the kernel frees its byte, and a
 * new consumer comes.  The count is raised when a lease is given back, by whoever does it.  A full count makes it DEAD.
 * Compare-and-exchange orders everything that matters here, so memory is sequentially consistent.
 * There are no slices: what nobody may repair is a deadlock, Spin's "invalid end state".
 *
 *   EXPIRY         a lease may also be taken back from a live holder, EXPIRY times
 *
 * BROKEN=1  a holder slot isn't swept before it is used: its new holder keeps a dead man's lease alive for ever
 *        2  an acknowledgement compares everything but the lap (EXPIRY)
 *        3  an acknowledgement compares everything but the count (EXPIRY)
 *        4  space is counted by messages that have ended, in whatever order
 *        5  a repairer stores, instead of comparing with what it saw
 *        6  a repairer doesn't look at the holder's byte
 *        7  a slot is used before its byte is locked
 *        8  a repairer compares everything but the count
 */
#ifndef BROKEN
#define BROKEN 0
#endif
#ifndef MESSAGES
#define MESSAGES 3
#endif
#ifndef DEATHS
#define DEATHS 2
#endif
#ifndef CONSUMERS
#define CONSUMERS 2
#endif
#ifndef EXPIRY
#define EXPIRY 0
#endif
#ifndef MOST_COUNT
#define MOST_COUNT 2
#endif
#define SLOTS 2
#define HOLDERS 2
#define NONE 255

#define FREE 0
#define READY 1
#define LEASED 2
#define ACKED 3
#define DEAD 4

/* lap 2 bits, phase 3, holder 1, count 2 */
#define word(lap, phase, holder, count) (((lap) << 6) | ((phase) << 3) | ((holder) << 2) | (count))
#define lap_of(w) ((w) >> 6)
#define phase_of(w) (((w) >> 3) & 7)
#define holder_of(w) (((w) >> 2) & 1)
#define count_of(w) ((w) & 3)
#define message_in(slot, w) (lap_of(w) * SLOTS + (slot))
#define over_in(w) (phase_of(w) == ACKED || phase_of(w) == DEAD)
#define given_back(w) \
    (count_of(w) < MOST_COUNT -> word(lap_of(w), READY, 0, count_of(w) + 1) : word(lap_of(w), DEAD, 0, count_of(w)))

byte state[SLOTS];
bool busy[HOLDERS]; /* the lock bytes */
byte written;       /* messages published */
byte freed;         /* messages whose space may be used again: the producer's */

/* what nobody in the protocol sees */
byte deaths, expiries;
byte holders[MESSAGES]; /* live ones, whose lease has not expired */
byte ended[MESSAGES];
byte all_ended;

#define everything_over (all_ended == MESSAGES)

/* Swap `old` for `next`; what ended is counted. */
inline exchange(at, old)
{
    atomic {
        if
        :: state[at] == old ->
            state[at] = next;
            won = 1;
            if
            :: over_in(next) ->
                ended[message_in(at, next)]++;
                assert(ended[message_in(at, next)] == 1);
                all_ended++
            :: else
            fi
        :: else -> won = 0
        fi;
        next = 0
    }
}

proctype Producer()
{
    byte slot;
    do
    :: written < MESSAGES ->
        do
        :: written - freed < SLOTS -> break
        :: written - freed == SLOTS ->
#if BROKEN == 4
            atomic { all_ended > freed -> freed++ }
#else
            atomic { over_in(state[freed % SLOTS]) -> freed++ }
#endif
        od;
        slot = written % SLOTS;
        assert(phase_of(state[slot]) == FREE || over_in(state[slot]));
        assert(written < SLOTS || (ended[written - SLOTS] == 1 && lap_of(state[slot]) == (written - SLOTS) / SLOTS));
        atomic { state[slot] = word(written / SLOTS, READY, 0, 0); written++ }
    :: else -> break
    od
}

#define may_be_repaired(slot) (phase_of(state[slot]) == LEASED && !busy[holder_of(state[slot])])
#define may_expire(slot) (expiries < EXPIRY && phase_of(state[slot]) == LEASED)

/* The kernel frees the byte.  The ghost of what was held goes as well. */
#define may_die if :: deaths < DEATHS -> deaths++; goto killed :: true fi

/* A receipt is used up.  Its holder no longer counts if it was still one. */
inline forget(i)
{
    if
    :: won -> holders[message_in(held_slot[i], held[i])] = 0
    :: else
    fi;
    held[i] = 0;
    held_slot[i] = 0
}

proctype Consumer()
{
    byte me = NONE, slot, seen, next, won;
    byte held_slot[2], held[2]; /* receipts: the word as leased; 0: none */
    byte which;
born:
#if BROKEN == 7
    if
    :: !busy[0] -> me = 0
    :: !busy[1] -> me = 1
    :: everything_over -> goto gone
    fi;
    busy[me] = true;
#else
    if
    :: atomic { !busy[0] -> busy[0] = true; me = 0 }
    :: atomic { !busy[1] -> busy[1] = true; me = 1 }
    :: everything_over -> goto gone
    fi;
#endif
    may_die;
#if BROKEN != 1
    slot = 0;
    do
    :: slot < SLOTS ->
        seen = state[slot];
        if
        :: phase_of(seen) == LEASED && holder_of(seen) == me -> may_die; next = given_back(seen); exchange(slot, seen)
        :: else
        fi;
        slot++
    :: slot == SLOTS -> break
    od;
    slot = 0; seen = 0; won = 0;
#endif
working:
    if
    /* lease */
    :: atomic { (held[0] == 0 || held[1] == 0) && phase_of(state[0]) == READY -> slot = 0; seen = state[0] };
        goto lease
    :: atomic { (held[0] == 0 || held[1] == 0) && phase_of(state[1]) == READY -> slot = 1; seen = state[1] };
        goto lease
    /* repair, or take back */
    :: atomic { may_be_repaired(0) -> slot = 0; seen = state[0] }; goto repair
    :: atomic { may_be_repaired(1) -> slot = 1; seen = state[1] }; goto repair
    :: atomic { may_expire(0) -> slot = 0; seen = state[0]; expiries++ }; goto expire
    :: atomic { may_expire(1) -> slot = 1; seen = state[1]; expiries++ }; goto expire
#if BROKEN == 6
    :: atomic { phase_of(state[0]) == LEASED -> slot = 0; seen = state[0] }; goto take_back
#endif
    /* acknowledge or give back what is held */
    :: atomic { held[0] != 0 -> which = 0 }; goto finish
    :: atomic { held[1] != 0 -> which = 1 }; goto finish
    :: everything_over && held[0] == 0 && held[1] == 0 -> goto leave
    :: deaths < DEATHS -> deaths++; goto killed
    fi;

lease:
    atomic {
        next = word(lap_of(seen), LEASED, me, count_of(seen));
        exchange(slot, seen);
        if
        :: won ->
            which = (held[0] == 0 -> 0 : 1);
            held_slot[which] = slot;
            held[which] = word(lap_of(seen), LEASED, me, count_of(seen));
            holders[message_in(slot, seen)]++;
            assert(holders[message_in(slot, seen)] == 1)
        :: else
        fi;
        which = 0; slot = 0; seen = 0; won = 0
    };
    goto working;

expire: /* somebody saw a deadline that has passed; its holder, live or not, no longer counts */
    atomic {
        if
        :: state[slot] == seen -> holders[message_in(slot, seen)] = 0
        :: else
        fi;
        next = given_back(seen);
        exchange(slot, seen);
        slot = 0; seen = 0; won = 0
    };
    goto working;

repair: /* the byte is looked at between reading the word and changing it */
    if
    :: busy[holder_of(seen)] -> slot = 0; seen = 0; goto working
    :: else
    fi;
take_back:
#if BROKEN == 5
    state[slot] = given_back(seen);
#else
    atomic {
#if BROKEN == 8
        if
        :: (state[slot] & 252) == (seen & 252) -> seen = state[slot]
        :: else
        fi;
#endif
        next = given_back(seen);
        exchange(slot, seen)
    };
#endif
    slot = 0; seen = 0; won = 0;
    goto working;

finish:
    if
    :: true -> goto acknowledge
    :: atomic { /* give back */
        next = given_back(held[which]);
        exchange(held_slot[which], held[which]);
        forget(which);
        which = 0; won = 0
    };
        goto working
    fi;
acknowledge:
    atomic {
        seen = held[which];
#if BROKEN == 2
        if
        :: (state[held_slot[which]] & 63) == (seen & 63) -> seen = state[held_slot[which]]
        :: else
        fi;
#elif BROKEN == 3
        if
        :: (state[held_slot[which]] & 252) == (seen & 252) -> seen = state[held_slot[which]]
        :: else
        fi;
#endif
        next = word(lap_of(seen), ACKED, me, count_of(seen));
        exchange(held_slot[which], seen);
        if
        :: won -> /* it was this message, and still ours */
            assert(lap_of(seen) == lap_of(held[which]));
            assert(count_of(seen) == count_of(held[which]))
        :: else
        fi;
        forget(which);
        seen = 0; which = 0; won = 0
    };
    goto working;

killed:
    atomic {
        if
        :: held[0] != 0 && state[held_slot[0]] == held[0] -> holders[message_in(held_slot[0], held[0])] = 0
        :: else
        fi;
        if
        :: held[1] != 0 && state[held_slot[1]] == held[1] -> holders[message_in(held_slot[1], held[1])] = 0
        :: else
        fi;
        held[0] = 0; held[1] = 0; held_slot[0] = 0; held_slot[1] = 0;
        slot = 0; seen = 0; won = 0; which = 0;
        busy[me] = false;
        me = NONE
    };
    goto born;
leave:
    busy[me] = false;
gone:
    me = NONE
}

init {
    byte i;
    atomic {
        run Producer();
        do
        :: i < CONSUMERS -> run Consumer(); i++
        :: else -> break
        od;
        i = 0
    }
}
