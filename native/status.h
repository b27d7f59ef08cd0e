/* status.h - the one list of results.  Zero or positive is success; IPCR_* are flow control and
 * verdicts; anything at or below IPCR_ERRNO_BASE is a failed system call, -(errno) - 4096. */
#ifndef IPCR_STATUS_H
#define IPCR_STATUS_H

enum ipcr_status {
    IPCR_OK = 0,
    IPCR_FULL = -1,          /* no room now: try again or wait */
    IPCR_EMPTY = -2,         /* nothing there now: try again or wait */
    IPCR_TOO_LARGE = -3,     /* can never fit in this ring */
    IPCR_CORRUPT = -4,       /* a word written by the peer breaks its validity condition */
    IPCR_BUSY = -5,          /* another thread of this process is inside this end */
    IPCR_CLOSED = -6,        /* this handle was closed */
    IPCR_END_OF_CHANNEL = -7,/* the other side closed cleanly (or nobody can ever take it) */
    IPCR_PEER_DIED = -8,     /* the other side was taken and its taker is dead */
    IPCR_FORKED = -9,        /* this handle was in use in the parent of this forked process */
    IPCR_TAKEN = -10,        /* another live handle has taken this end */
    IPCR_NOT_TAKEN = -11,    /* first use: take the end, then try again */
    IPCR_AGAIN = -12,        /* a slice of waiting is over, or a signal came: handle signals, call again */
    IPCR_EXISTS = -13,       /* the name is in use by somebody present */
    IPCR_NOT_FOUND = -14,    /* no such name */
    IPCR_UNTRUSTED = -15,    /* the file belongs to another user, or others may write it */
    IPCR_NOT_OURS = -16,     /* the file is not an ipc-rings segment */
    IPCR_VERSION = -17,      /* another format version, layout, or byte order */
    IPCR_KIND = -18,         /* a segment, but of another kind */
    IPCR_TIME_NAMESPACE = -19,/* made in another time namespace: monotonic clocks differ */
    IPCR_LENT = -20,         /* a claim or a peek is outstanding */
    IPCR_NOTHING_LENT = -21, /* commit, abort or release without a claim or a peek */
    IPCR_NAME_BUSY = -22,    /* somebody else has been unlinking this name for too long */
    IPCR_IN_USE = -23,       /* handing over an end that this process has taken */
    IPCR_IN_PARTS = -24,     /* the next message comes in parts: see parts.c */
    IPCR_GIVEN_UP = -25,     /* the message that was being put together will never be whole */
    IPCR_WRONG_SIDE = -26,   /* sending through a receiver's end, or receiving through a sender's */
    IPCR_LEASE_LOST = -27,   /* the message is held by somebody else now, or done with */
    IPCR_SHUT_DOWN = -28,    /* the queue was shut down */
    IPCR_LAGGED_OUT = -29,   /* this subscriber was too far behind, and was evicted */
    IPCR_ERRNO_BASE = -4096
};

#define IPCR_FROM_ERRNO(e) (IPCR_ERRNO_BASE - (e))
#define IPCR_IS_ERRNO(rc) ((rc) <= IPCR_ERRNO_BASE)
#define IPCR_TO_ERRNO(rc) (IPCR_ERRNO_BASE - (int)(rc))

#endif
