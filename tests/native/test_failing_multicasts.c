/* test_failing_multicasts.c - multicasts while system calls fail, as failing.h lets them. */
#include "failing.h"
#include "multicast.h"
#include "multicast_stats.h"

enum { DATA = 4096 };

static const struct ipcr_multicast_options lossless = { .policy = IPCR_LOSSLESS };

static int64_t created(const char *where, const char *name, struct ipcr_segment **out)
{
    return ipcr_segment_create_multicast(where, name, DATA, 8, &lossless, 0, out);
}

static int64_t anonymous_multicast(struct ipcr_segment **out) { return created(NULL, "ipc:test", out); }
static int64_t named_multicast(struct ipcr_segment **out) { return created(dir, "name", out); }

static int64_t subscribed(struct ipcr_segment *s, bool observe, struct ipcr_subscriber **out)
{
    const struct ipcr_subscription wanted = { .start = IPCR_START_OLDEST, .observe = observe, .interval_ns = 1000 };
    uint64_t oldest, next;
    return ipcr_subscriber_open(s, &wanted, NULL, &oldest, &next, out);
}

static void drop(struct ipcr_publisher *p, struct ipcr_subscriber *r)
{
    if (p != NULL)
        ipcr_publisher_free(p);
    if (r != NULL)
        ipcr_subscriber_free(r);
}

static int64_t received(struct ipcr_subscriber *r)
{
    char out[16];
    const int64_t rc = ipcr_subscriber_copy(r, out, sizeof out);
    if (rc < 0)
        return rc;
    CHECK(rc == 7 && memcmp(out, "message", 7) == 0);
    return IPCR_OK;
}

/* Whoever waits in vain parks, is woken by nobody, and looks after the others. */
static int64_t waited_for_message(struct ipcr_subscriber *r)
{
    r->slice_end_ns = 0;
    const int64_t rc = ipcr_subscriber_wait(r, in_ms(3), 0);
    ipcr_subscriber_stop_waiting(r);
    return rc == IPCR_EMPTY || rc == IPCR_AGAIN ? IPCR_OK : rc;
}

static int64_t waited_for_room(struct ipcr_publisher *p)
{
    int64_t rc;
    while ((rc = ipcr_publish_bytes(p, "message", 7)) >= 0)
        ;
    if (rc != IPCR_FULL)
        return rc;
    p->slice_end_ns = 0;
    rc = ipcr_publisher_wait(p, in_ms(3), 0);
    ipcr_publisher_stop_waiting(p);
    return rc == IPCR_FULL || rc == IPCR_AGAIN ? IPCR_OK : rc;
}

static int64_t talk(struct ipcr_segment *in, struct ipcr_segment *out, bool observe)
{
    struct ipcr_publisher *p = NULL;
    struct ipcr_subscriber *r = NULL;
    struct ipcr_multicast_stats stats;
    struct ipcr_subscriber_stats all[4];
    uint32_t by;
    int64_t rc = ipcr_publisher_open(in, 0, &by, &p);
    if (rc == IPCR_OK)
        rc = subscribed(out, observe, &r);
    if (rc == IPCR_OK)
        rc = waited_for_message(r);
    if (rc == IPCR_OK)
        rc = ipcr_publish_bytes(p, "message", 7) >= 0 ? IPCR_OK : IPCR_CORRUPT; /* needs nothing of the kernel */
    if (rc == IPCR_OK)
        rc = received(r);
    if (rc == IPCR_OK)
        rc = ipcr_multicast_stats(out, &stats, all, 4);
    if (rc == IPCR_OK && !observe)
        rc = waited_for_room(p);
    if (rc == IPCR_OK) {
        p->slice_end_ns = r->slice_end_ns = 0;
        rc = ipcr_publisher_look_around(p);
    }
    if (rc == IPCR_OK)
        rc = ipcr_subscriber_look_around(r);
    drop(p, r);
    return rc;
}

static int64_t talk_alone(struct ipcr_segment *s) { return talk(s, s, false); }
static int64_t talk_observed(struct ipcr_segment *s) { return talk(s, s, true); }
static int64_t talk_in_two(struct ipcr_segment *in, struct ipcr_segment *out) { return talk(in, out, false); }

static int64_t look_at(int fd)
{
    struct ipcr_multicast_stats stats;
    return ipcr_multicast_stats_of_file(fd, &stats, NULL, 0);
}

static int64_t talk_to_another(struct ipcr_segment *s)
{
    return with_second_mapping(s, IPCR_KIND_MULTICAST, look_at, talk_in_two);
}

static int64_t subscribe(void *segment)
{
    struct ipcr_subscriber *own = NULL;
    return subscribed(segment, false, &own);
}

static int64_t fork_with_subscriber(struct ipcr_segment *s)
{
    struct ipcr_subscriber *r = NULL;
    const int64_t rc = subscribed(s, false, &r);
    if (rc == IPCR_OK)
        attempted_in_a_child(subscribe, s);
    drop(NULL, r);
    return rc;
}

static int64_t anonymous_life(void) { return life_of(anonymous_multicast, talk_alone); }
static int64_t observed_life(void) { return life_of(anonymous_multicast, talk_observed); }
static int64_t named_life(void) { return life_of(named_multicast, talk_to_another); }
static int64_t forks(void) { return life_of(named_multicast, fork_with_subscriber); }

static void an_anonymous_multicast_survives_every_failure(void) { tell_with_failures(anonymous_life); }
static void an_observed_multicast_survives_every_failure(void) { tell_with_failures(observed_life); }
static void a_named_multicast_survives_every_failure(void) { tell_with_failures(named_life); }
static void a_fork_survives_every_failure(void) { tell_with_failures(forks); }

int main(void)
{
    failing_begin();
    run("an anonymous multicast survives every failure", an_anonymous_multicast_survives_every_failure);
    run("an observed multicast survives every failure", an_observed_multicast_survives_every_failure);
    run("a named multicast survives every failure", a_named_multicast_survives_every_failure);
    run("a fork survives every failure", a_fork_survives_every_failure);
    return failing_finish();
}
