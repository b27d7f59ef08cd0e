/* takeover.pml - an end, the processes that take it one after another, and the other side, which must tell death from a
 * close, from silence, and from a successor.
 *
 * In words:
 *   1 no two live processes use an end at the same time;
 *   2 whoever takes an end continues where its dead predecessor's last publication ended: every message is published
 *     once, in order, and what was published is received;
 *   3 the other side says PeerDied only when, at its last look at the word, the process that stored it was dead; and only
 *     after everything that this process had published was received;
 *   4 it says EndOfChannel only after a close, after the last message;
 *   5 a process that dies anywhere, between locking the role byte and storing TAKEN included, leaves an end that can be
 *     taken: nobody waits for ever.
 *
 * The role byte is a lock of the kernel's: taken by one process at a time, given up by an unlock or by death, and
 * with it goes everything that its holder stored before (edge T), so that memory is sequentially consistent here.
 * Each taker may die at any step.  The other side is a receiver that looks at the ring, at the word, and, at the end of
 * a slice, at the role byte: ipcr_look and ipcr_end_peer.
 *
 * BROKEN=1  the verdict without a second look at the word
 *        2  EndOfChannel without a second look at the ring
 *        3  close gives the role byte up before it stores CLOSED
 *        4  a successor reads the position before it holds the role byte
 *        5  PeerDied without a last look at the ring
 *        6  a successor doesn't raise the generation
 *        7  a taker stores TAKEN before it holds the role byte
 *        8  a closed end may be taken
 */
#ifndef BROKEN
#define BROKEN 0
#endif
#ifndef TAKERS
#define TAKERS 3
#endif
#ifndef EACH
#define EACH 2 /* messages at most, by one taker */
#endif

#define UNTAKEN 0
#define TAKEN 1
#define CLOSED 2
#define NOBODY 255
#define MOST (TAKERS * EACH)

byte state;             /* of the end: UNTAKEN, TAKEN or CLOSED */
byte generation;
byte role = NOBODY;     /* who holds the role byte */
byte position;          /* how many messages were published */
byte slot[MOST + 1];    /* what they were */

/* what nobody in the protocol sees */
bool dead[TAKERS];
byte deaths;
byte users;             /* live processes that use the end */
byte storer = NOBODY;   /* of `state` */
byte published[TAKERS]; /* the position after this one's last publication */
bool closed;
bool over;              /* the receiver has its verdict, or has seen the end */

#define may_die if :: true -> goto killed :: true fi

proctype Taker(byte me)
{
    byte mine, sent, mine_generation, working;
#if BROKEN == 4
    mine = position;
#endif
#if BROKEN == 7
    atomic { state = TAKEN; generation++; mine_generation = generation; storer = me }
#endif
    if
    :: atomic { role == NOBODY -> role = me }
    :: over -> goto gone
    fi;
    may_die;
#if BROKEN != 8
    if
    :: state == CLOSED -> goto leave
    :: else
    fi;
#endif
    may_die;
#if BROKEN != 4
    mine = position;
#endif
#if BROKEN == 6
    d_step { state = TAKEN; storer = me };
#elif BROKEN != 7
    d_step { state = TAKEN; generation++; mine_generation = generation; storer = me };
#endif
    d_step { assert(users == 0); users++; working = 1 };
    do
    :: sent < EACH ->
        may_die;
        slot[mine] = mine + 1;
        may_die;
        d_step { assert(position == mine); mine++; position = mine; published[me] = mine };
        sent++
    :: true -> break
    od;
    may_die;
    d_step { users--; working = 0 };
#if BROKEN == 3
    role = NOBODY;
    d_step { state = CLOSED; storer = me; closed = true };
    goto gone;
#else
    d_step { state = CLOSED; generation = mine_generation; storer = me; closed = true };
    may_die;
#endif
leave:
    role = NOBODY;
    goto gone;
killed:
    atomic { /* the kernel lets go of the byte */
        dead[me] = true;
        deaths++;
        users = users - working;
        working = 0;
        if
        :: role == me -> role = NOBODY
        :: else
        fi
    };
gone:
    mine = 0; sent = 0; mine_generation = 0
}

proctype Receiver()
{
    byte got, was, was_generation, whose;
again:
    do
    :: got < position -> d_step { assert(slot[got] == got + 1); got++ }
    :: got == position -> break
    od;
    if
    :: state == CLOSED ->
#if BROKEN != 2
        if
        :: got < position -> goto again
        :: else
        fi;
#endif
        assert(closed && got == position);
        goto done
    :: else
    fi;
    /* the end of a slice */
    d_step { was = state; was_generation = generation };
    if
    :: was == CLOSED -> goto again
    :: was == UNTAKEN ->
        if
        :: state != UNTAKEN || role != NOBODY || got < position -> goto again /* nobody has come yet: wait */
        :: deaths == TAKERS -> goto done                                          /* and nobody will */
        fi
    :: was == TAKEN
    fi;
    if
    :: role != NOBODY -> /* alive; wait for anything to change */
        if
        :: state != was || generation != was_generation || role == NOBODY || got < position -> goto again
        fi
    :: role == NOBODY
    fi;
#if BROKEN != 1
    atomic {
        if
        :: state != was || generation != was_generation -> goto again
        :: else -> whose = storer; assert(dead[whose])
        fi
    };
#else
    whose = storer;
    assert(dead[whose]);
#endif
#if BROKEN != 5
    if
    :: got < position -> goto again /* the last look */
    :: else
    fi;
#endif
    assert(got >= published[whose]); /* PeerDied */
    if
    :: true -> goto again /* a receiver may go on and wait for a successor */
    :: true -> skip
    fi;
done:
    atomic { over = true; was = 0; was_generation = 0; whose = 0 }
}

init {
    byte i;
    atomic {
        do
        :: i < TAKERS -> run Taker(i); i++
        :: else -> break
        od;
        i = 0;
        run Receiver()
    }
}
