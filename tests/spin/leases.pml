/* leases.pml - many consumers on one producer's lane (native/leases.h, repair.c, ending.c, lanes.c): lease, acknowledge,
 * give back, keep, requeue, bury, die, and be repaired.
 *
 * In words:
 *   1 at most one live holder has a message, unless its lease was allowed to expire (EXPIRY);
 *   2 no message is lost: each ends exactly once, as acknowledged, or as dead by somebody who took it when it was kept;
 *   3 whatever a holder does to a message succeeds only while the lease that it was given is the last one: a stale one fails;
 *   4 the producer uses a slot again only when the message in it, and every one before, has ended (space by prefix);
 *   5 a lease of a number exists only while the number is active (H1), so that looking at numbers finds every death: a dead
 *     man's message is delivered again, or kept, and nobody waits for ever.
 *
 * One producer, CONSUMERS consumers, a lane of SLOTS slots.  A slot's word holds lap, phase, holder, the count of deliveries,
 * and whether the lease has an end; it changes by one compare-and-exchange.  Beside it stands how many deliveries are
 * forgiven.  A consumer locks the byte of a number that nobody has; when that is active it first ends the leases of the dead
 * man before it (H3); then it makes the number active, and works: leases, acknowledges, gives back, takes what is kept to
 * requeue, bury or keep it, puts back a lease that nobody has seen yet (the only case in which the count goes down).  It looks for numbers
 * that are active and whose byte is free, locks that byte, ends their leases, and only then makes them inactive (H2).  At any
 * step it may die, or close, which ends its own leases (DEATHS times in all); a new consumer comes.
 * Compare-and-exchange orders everything that matters here, so memory is sequentially consistent.  There are no slices: what
 * nobody may repair is a deadlock, Spin's "invalid end state".  Scans' hints are the explorer's part.
 *
 *   EXPIRY       leases may have an end, and be taken back from a live holder, EXPIRY times
 *   REQUEUES     so many times a kept message is requeued
 *
 * BROKEN=1  whoever gets a number that is active doesn't end the leases before it works
 *        2  an acknowledgement compares everything but the lap (EXPIRY)
 *        3  the count goes back when a lease is returned (EXPIRY)
 *        4  space is counted by messages that have ended, in whatever order
 *        5  whoever ends a dead man's lease stores, instead of comparing with what it saw (EXPIRY and DEATHS)
 *        6  a number becomes inactive before its leases are ended
 *        7  a number becomes active after the first lease
 *        8  whoever looks for deaths doesn't lock the byte of the dead
 *        9  requeuing sets the count to 0, instead of forgiving (EXPIRY)
 *       10  an acknowledgement compares everything but the count (EXPIRY)
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
#ifndef MOST
#define MOST 1   /* deliveries, before a message is kept */
#endif
#ifndef REQUEUES
#define REQUEUES 1
#endif
#define SLOTS 2
#define HOLDERS 2
#define NONE 255

#define FREE 0
#define READY 1
#define LEASED 2
#define ACKED 3
#define DEAD 4
#define KEPT 5

/* lap 2 bits, phase 3, holder 1, ends 1, count 3 */
#define word(lap, phase, holder, ends, count) (((lap) << 8) | ((phase) << 5) | ((holder) << 4) | ((ends) << 3) | (count))
#define lap_of(w) ((w) >> 8)
#define phase_of(w) (((w) >> 5) & 7)
#define holder_of(w) (((w) >> 4) & 1)
#define ends_of(w) (((w) >> 3) & 1)
#define count_of(w) ((w) & 7)
#define message_in(slot, w) (lap_of(w) * SLOTS + (slot))
#define over_in(w) (phase_of(w) == ACKED || phase_of(w) == DEAD)
#define is_held_by(w, h) (phase_of(w) == LEASED && holder_of(w) == (h))
#if BROKEN == 3
#define after_return(w, pardon) word(lap_of(w), READY, 0, 0, count_of(w) - 1)
#else
#define after_return(w, pardon) \
    (count_of(w) >= MOST + (pardon) -> word(lap_of(w), KEPT, 0, 0, count_of(w)) : word(lap_of(w), READY, 0, 0, count_of(w)))
#endif

short state[SLOTS];
byte forgiven[SLOTS];
bool busy[HOLDERS];   /* the lock bytes */
bool alive_in[HOLDERS]; /* the words `active` */
byte written;         /* messages published */
byte freed;           /* messages whose space may be used again: the producer's */

/* what nobody in the protocol sees */
byte deaths, expiries, requeues;
byte owner[SLOTS];    /* whose the last lease is, 1 + 2 * consumer + place; 0: nobody's who lives, or one that expired */
byte ended[MESSAGES];
byte all_ended;

#define everything_over (all_ended == MESSAGES)

/* Swap `old` for `next`; what ended is counted.  Within atomic. */
inline swap(at, old)
{
    if
    :: state[at] == old ->
        state[at] = next;
        won = 1;
        assert(phase_of(next) != LEASED || BROKEN == 7 || alive_in[holder_of(next)]); /* H1 */
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
        atomic {
            slot = written % SLOTS;
            assert(phase_of(state[slot]) == FREE || over_in(state[slot]));
            assert(written < SLOTS || (ended[written - SLOTS] == 1 && lap_of(state[slot]) == (written - SLOTS) / SLOTS));
            forgiven[slot] = 0;
            owner[slot] = 0;
            state[slot] = word(written / SLOTS, READY, 0, 0, 0);
            written++;
            slot = 0
        }
    :: else -> break
    od
}

/* The kernel frees the bytes.  The ghost of what was held goes as well. */
#define may_die if :: deaths < DEATHS -> deaths++; goto killed :: true fi

/* Every lease of a number whose byte we hold. */
inline sweep(whose)
{
    slot = 0;
    do
    :: slot < SLOTS ->
        atomic { seen = state[slot] };
        if
        :: is_held_by(seen, whose) ->
            may_die;
            atomic {
                next = after_return(seen, forgiven[slot]);
#if BROKEN == 5
                seen = state[slot];
#endif
                swap(slot, seen);
                assert(!won || owner[slot] == 0 || owner[slot] == 1 + 2 * id || owner[slot] == 2 + 2 * id); /* 1 */
                if :: won -> owner[slot] = 0 :: else fi;
                won = 0
            }
        :: else
        fi;
        atomic { seen = 0; slot++ }
    :: atomic { slot == SLOTS -> slot = 0; break }
    od
}

inline forget() /* a receipt is used up */
{
    held[which] = 0; held_slot[which] = 0; which = 0; won = 0; seen = 0
}

/* What a receipt allows (`next`), if it is still good: then it is the last lease's.  Within atomic. */
inline use()
{
    seen = held[which];
    swap(held_slot[which], seen);
    assert(!won || owner[held_slot[which]] == 1 + 2 * id + which); /* 3 */
    if :: won -> owner[held_slot[which]] = 0 :: else fi;
    forget()
}

#define room (held[0] == 0 || held[1] == 0)
#define dead_one(h) (me != (h) && alive_in[h] && !busy[h])

proctype Consumer(byte id)
{
    byte me = NONE, dead = NONE, slot, which;
    short seen, next;
    bool won;
    short held[2]; /* receipts: the word as leased; 0: none */
    byte held_slot[2];
born:
    if
    :: atomic { !busy[0] -> busy[0] = true; me = 0 }
    :: atomic { !busy[1] -> busy[1] = true; me = 1 }
    :: everything_over -> goto gone
    fi;
#if BROKEN != 1
    if
    :: alive_in[me] -> sweep(me)
    :: else
    fi;
#endif
    may_die;
#if BROKEN != 7
    alive_in[me] = true;
#endif
working:
    if
    :: atomic { room && phase_of(state[0]) == READY -> slot = 0; seen = state[0] }; goto lease
    :: atomic { room && phase_of(state[1]) == READY -> slot = 1; seen = state[1] }; goto lease
    :: atomic { room && phase_of(state[0]) == KEPT -> slot = 0; seen = state[0] }; goto take_kept
    :: atomic { room && phase_of(state[1]) == KEPT -> slot = 1; seen = state[1] }; goto take_kept
    :: atomic { dead_one(0) -> dead = 0 }; goto bury
    :: atomic { dead_one(1) -> dead = 1 }; goto bury
    :: atomic { expiries < EXPIRY && phase_of(state[0]) == LEASED && ends_of(state[0]) ->
                slot = 0; seen = state[0]; expiries++ }; goto expire
    :: atomic { expiries < EXPIRY && phase_of(state[1]) == LEASED && ends_of(state[1]) ->
                slot = 1; seen = state[1]; expiries++ }; goto expire
    :: atomic { held[0] != 0 -> which = 0 }; goto finish
    :: atomic { held[1] != 0 -> which = 1 }; goto finish
    :: everything_over && held[0] == 0 && held[1] == 0 -> goto leave
    :: atomic { deaths < DEATHS -> deaths++ }; goto killed
    :: atomic { deaths < DEATHS -> deaths++ }; goto leave
    fi;

lease:
    atomic {
        which = (held[0] == 0 -> 0 : 1);
        if
        :: next = word(lap_of(seen), LEASED, me, 0, count_of(seen) + 1)
        :: EXPIRY > 0 -> next = word(lap_of(seen), LEASED, me, 1, count_of(seen) + 1)
        fi;
        held[which] = next;
        held_slot[which] = slot;
        swap(slot, seen);
        seen = 0; slot = 0;
        if
        :: won -> assert(owner[held_slot[which]] == 0); owner[held_slot[which]] = 1 + 2 * id + which
        :: else -> held[which] = 0; held_slot[which] = 0; which = 0
        fi
    };
#if BROKEN == 7
    if
    :: won -> may_die; alive_in[me] = true
    :: else
    fi;
#endif
    if
    :: atomic { won && !ends_of(held[which]) -> won = 0 }; /* nobody has seen it, and there is no room for it */
        atomic { next = word(lap_of(held[which]), READY, 0, 0, count_of(held[which]) - 1); use() }
    :: atomic { true -> won = 0; which = 0 }
    fi;
    goto working;

take_kept: /* no delivery: the count stays */
    atomic {
        which = (held[0] == 0 -> 0 : 1);
        next = word(lap_of(seen), LEASED, me, 0, count_of(seen));
        held[which] = next;
        held_slot[which] = slot;
        swap(slot, seen);
        seen = 0; slot = 0;
        if
        :: won -> assert(owner[held_slot[which]] == 0); owner[held_slot[which]] = 1 + 2 * id + which
        :: else -> held[which] = 0; held_slot[which] = 0; which = 0; won = 0
        fi
    };
    if
    :: !won -> goto working
    :: atomic { won -> won = 0 }
    fi;
    may_die;
    if
    :: atomic { next = word(lap_of(held[which]), DEAD, 0, 0, count_of(held[which])); use() }
    :: atomic { next = word(lap_of(held[which]), KEPT, 0, 0, count_of(held[which])); use() }
    :: requeues < REQUEUES ->
        requeues++;
#if BROKEN == 9
        atomic { next = word(lap_of(held[which]), READY, 0, 0, 0); use() }
#else
        forgiven[held_slot[which]] = count_of(held[which]);
        may_die;
        atomic { next = word(lap_of(held[which]), READY, 0, 0, count_of(held[which])); use() }
#endif
    fi;
    goto working;

expire: /* somebody saw an end that has passed; its holder, live or not, no longer counts */
    atomic {
        next = after_return(seen, forgiven[slot]);
        swap(slot, seen);
        if :: won -> owner[slot] = 0 :: else fi;
        slot = 0; seen = 0; won = 0
    };
    goto working;

bury: /* somebody is dead: if nobody else is at it */
#if BROKEN != 8
    if
    :: atomic { !busy[dead] -> busy[dead] = true }
    :: atomic { busy[dead] -> dead = NONE }; goto working
    fi;
#endif
    if
    :: alive_in[dead] ->
#if BROKEN == 6
        alive_in[dead] = false;
        may_die;
#endif
        sweep(dead);
        may_die;
        atomic {
            assert(!is_held_by(state[0], dead) && !is_held_by(state[1], dead)); /* H2 */
            alive_in[dead] = false
        }
    :: else
    fi;
#if BROKEN != 8
    busy[dead] = false;
#endif
    dead = NONE;
    goto working;

finish:
    if
    :: true ->
#if BROKEN == 2 || BROKEN == 10
        atomic {
            seen = held[which];
            if
#if BROKEN == 2
            :: (state[held_slot[which]] & 255) == (seen & 255) -> seen = state[held_slot[which]]
#else
            :: (state[held_slot[which]] & 1016) == (seen & 1016) -> seen = state[held_slot[which]]
#endif
            :: else
            fi;
            held[which] = seen
        };
#endif
        atomic { next = word(lap_of(held[which]), ACKED, 0, 0, count_of(held[which])); use() }
    :: true -> atomic { next = after_return(held[which], forgiven[held_slot[which]]); use() }
    fi;
    goto working;

killed:
    atomic {
        if :: held[0] != 0 && owner[held_slot[0]] == 1 + 2 * id -> owner[held_slot[0]] = 0 :: else fi;
        if :: held[1] != 0 && owner[held_slot[1]] == 2 + 2 * id -> owner[held_slot[1]] = 0 :: else fi;
        held[0] = 0; held[1] = 0; held_slot[0] = 0; held_slot[1] = 0;
        slot = 0; seen = 0; next = 0; won = 0; which = 0;
        if :: dead != NONE && BROKEN != 8 -> busy[dead] = false :: else fi;
        dead = NONE;
        busy[me] = false;
        me = NONE
    };
    goto born;
leave: /* close: what is still held goes back */
    sweep(me);
    may_die;
    atomic {
        assert(!is_held_by(state[0], me) && !is_held_by(state[1], me)); /* H2 */
        alive_in[me] = false;
        held[0] = 0; held[1] = 0; held_slot[0] = 0; held_slot[1] = 0
    };
    atomic { busy[me] = false; me = NONE };
    if
    :: everything_over
    :: !everything_over -> goto born
    fi;
gone:
    me = NONE
}

init {
    byte i;
    atomic {
        run Producer();
        do
        :: i < CONSUMERS -> run Consumer(i); i++
        :: else -> break
        od;
        i = 0
    }
}
