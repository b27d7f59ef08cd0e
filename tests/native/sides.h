/* sides.h - the ends of a channel without Python: open, take, send and receive until a deadline. */
#ifndef IPCR_TESTS_SIDES_H
#define IPCR_TESTS_SIDES_H

#include "batches.h"
#include "check.h"
#include "ends.h"
#include "registry.h"
#include "stats.h"
#include "transfer.h"

#include <pthread.h>
#include <sys/socket.h>

enum { CAPACITY = 4096 };

static inline struct ipcr_end *open_end(struct ipcr_segment *s, uint32_t side)
{
    struct ipcr_end *e = NULL;
    CHECK_IS(ipcr_end_open(s, side, IPCR_SPIN_AUTO, &e), IPCR_OK);
    return e;
}

static inline struct ipcr_end *taken(struct ipcr_segment *s, uint32_t side)
{
    struct ipcr_end *e = open_end(s, side);
    uint32_t by;
    CHECK_IS(ipcr_end_take(e, &by), IPCR_OK);
    return e;
}

static inline void finish(struct ipcr_end *e, bool clean)
{
    ipcr_end_close(e, clean);
    ipcr_end_free(e);
}

static char received[IPCR_SMALL];

static inline int64_t recv_until(struct ipcr_end *e, uint64_t deadline_ns)
{
    int64_t rc = ipcr_recv_wait(e, received, deadline_ns, 0);
    while (rc == IPCR_AGAIN)
        rc = ipcr_recv_wait(e, received, deadline_ns, 1);
    return rc;
}

static inline int send_until(struct ipcr_end *e, const char *message, uint64_t length, uint64_t deadline_ns)
{
    int rc = ipcr_send_wait(e, message, length, 0, deadline_ns, 0);
    while (rc == IPCR_AGAIN)
        rc = ipcr_send_wait(e, message, length, 0, deadline_ns, 1);
    return rc;
}

static inline int flush_until(struct ipcr_end *e, uint64_t deadline_ns)
{
    int rc = ipcr_flush_wait(e, deadline_ns, 0);
    while (rc == IPCR_AGAIN)
        rc = ipcr_flush_wait(e, deadline_ns, 1);
    return rc;
}

static inline int send_text(struct ipcr_end *e, const char *text) { return ipcr_send(e, text, strlen(text), 0); }

static inline void check_receives(struct ipcr_end *e, const char *text)
{
    CHECK_IS(recv_until(e, IPCR_FOREVER), strlen(text));
    CHECK(memcmp(received, text, strlen(text)) == 0);
}

static inline void fill(struct ipcr_end *sender)
{
    while (ipcr_send(sender, received, 100, 0) == IPCR_OK)
        ;
    CHECK_IS(ipcr_send(sender, received, 100, 0), IPCR_FULL);
}

static inline struct ipcr_side_stats side_of(struct ipcr_segment *s, uint32_t side)
{
    struct ipcr_stats stats;
    CHECK_IS(ipcr_stats_of_segment(s, &stats), IPCR_OK);
    return stats.side[side];
}

static inline void take_and_wait(int ear, int mouth, void *arg)
{
    struct ipcr_end *e = taken(arg, IPCR_SENDER);
    say(mouth, 't');
    const char word = hear(ear);
    if (word == 'c')
        finish(e, true);
    say(mouth, 'd');
    wait_for_end();
}

static inline void send_and_wait(int ear, int mouth, void *arg)
{
    struct ipcr_end *e = taken(arg, IPCR_SENDER);
    CHECK_IS(send_text(e, "one"), IPCR_OK);
    CHECK_IS(send_text(e, "two"), IPCR_OK);
    CHECK_IS(ipcr_claim(e, 50), IPCR_OK); /* never committed */
    say(mouth, 's');
    (void)hear(ear);
    wait_for_end();
}

#endif
