/* multicasts.c - each operation of a multicast that makes system calls, as its callers use it, and what must work after. */
#include "multicast.h"
#include "multicast_stats.h"
#include "operations.h"
#include "scene.h"

enum { ENTRIES = 8 };

static struct ipcr_publisher *publisher;
static struct ipcr_subscriber *subscriber;

/* --- the scene ------------------------------------------------------------------------------------------------ */

static int create(void)
{
    const struct ipcr_multicast_options lossless = { .policy = IPCR_LOSSLESS };
    const int rc = ipcr_segment_create_multicast(dir, NAME, CAPACITY, ENTRIES, &lossless, 0, &segment);
    CHECK(rc != IPCR_TAKEN);
    return rc;
}

static int attach(void) { return attach_as(IPCR_KIND_MULTICAST, &second); }

static int publish_on(struct ipcr_segment *s)
{
    uint32_t by;
    return ipcr_publisher_open(s, 0, &by, &publisher);
}

static int subscribe_to(struct ipcr_segment *s, bool observe)
{
    const struct ipcr_subscription wanted = { .start = IPCR_START_LATEST, .observe = observe, .interval_ns = 1000 };
    uint64_t oldest, next;
    return ipcr_subscriber_open(s, &wanted, NULL, &oldest, &next, &subscriber);
}

static void drop_publisher(void)
{
    ipcr_publisher_free(publisher);
    publisher = NULL;
}

static void drop_subscriber(void)
{
    ipcr_subscriber_free(subscriber);
    subscriber = NULL;
}

static void check_gets(const char *message)
{
    char got[64];
    CHECK_IS(ipcr_subscriber_copy(subscriber, got, sizeof got), strlen(message));
    CHECK(memcmp(got, message, strlen(message)) == 0);
}

static void one_message_through(void)
{
    CHECK(ipcr_publish_bytes(publisher, "message", 7) >= 0);
    check_gets("message");
}

static void make_multicast(void) { CHECK_IS(create(), IPCR_OK); }
static void unmake_multicast(void) { release(&segment); }

static void make_with_publisher(void)
{
    make_multicast();
    CHECK_IS(publish_on(segment), IPCR_OK);
}

static void unmake_with_publisher(void)
{
    drop_publisher();
    unmake_multicast();
}

static void make_with_both(void)
{
    make_with_publisher();
    CHECK_IS(subscribe_to(segment, false), IPCR_OK);
}

static void unmake_with_both(void)
{
    drop_subscriber();
    unmake_with_publisher();
}

/* --- making, attaching, joining --------------------------------------------------------------------------------- */

static void prove_attached(void)
{
    CHECK_IS(publish_on(segment), IPCR_OK);
    CHECK_IS(subscribe_to(second, false), IPCR_OK);
    one_message_through();
    drop_subscriber();
    drop_publisher();
}

static void prove_created(void)
{
    CHECK_IS(attach(), IPCR_OK);
    prove_attached();
    release(&second);
}

static void unattach(void) { release(&second); }

static int open_publisher(void) { return publish_on(segment); }

static void prove_publisher(void)
{
    struct ipcr_publisher *other;
    uint32_t by;
    CHECK_IS(ipcr_publisher_open(segment, 0, &by, &other), IPCR_TAKEN);
    CHECK_IS(subscribe_to(segment, false), IPCR_OK);
    one_message_through();
    drop_subscriber();
}

static int subscribe(void) { return subscribe_to(segment, false); }
static int observe(void) { return subscribe_to(segment, true); }

/* --- waking, waiting ---------------------------------------------------------------------------------------------- */

static int publish_to_a_sleeper(void)
{
    store_relaxed32(&publisher->header->readers_parked, 1);
    const int64_t rc = ipcr_publish_bytes(publisher, "message", 7);
    return rc >= 0 ? IPCR_OK : (int)rc;
}

static void prove_woken(void)
{
    CHECK_IS(load_relaxed32(&publisher->header->readers_parked), 2);
    check_gets("message");
}

static int wait_for_message(void)
{
    const uint64_t until = in_ms(SOON_MS);
    int rc;
    for (int resume = 0; (rc = ipcr_subscriber_wait(subscriber, until, resume)) == IPCR_AGAIN; resume = 1)
        ;
    CHECK(rc != IPCR_EMPTY || now_ns() >= until); /* not early */
    return rc;
}

static void make_full(void)
{
    make_with_both();
    while (ipcr_publish_bytes(publisher, "filling", 7) >= 0)
        ;
}

static int wait_for_room(void)
{
    const uint64_t until = in_ms(SOON_MS);
    int rc;
    for (int resume = 0; (rc = ipcr_publisher_wait(publisher, until, resume)) == IPCR_AGAIN; resume = 1)
        ;
    CHECK(rc != IPCR_FULL || now_ns() >= until);
    return rc;
}

static void prove_drained_and_filled(void)
{
    for (int i = 0; i < ENTRIES; i++)
        check_gets("filling");
    one_message_through();
    while (ipcr_publish_bytes(publisher, "filling", 7) >= 0)
        ;
}

static int look_for_the_dead(void)
{
    publisher->slice_end_ns = subscriber->slice_end_ns = 0;
    const int rc = ipcr_publisher_look_around(publisher);
    return rc == IPCR_OK ? ipcr_subscriber_look_around(subscriber) : rc;
}

/* --- ending, looking ------------------------------------------------------------------------------------------------ */

static int close_all(void)
{
    unmake_with_both();
    return IPCR_OK;
}

static int look_at_file(void)
{
    struct ipcr_multicast_stats stats = { 0 };
    struct ipcr_subscriber_stats all[2];
    int fd;
    int rc = ipcr_os_open(dir, NAME, &fd);
    if (rc != IPCR_OK)
        return rc;
    rc = ipcr_multicast_stats_of_file(fd, &stats, all, 2);
    ipcr_os_close(fd);
    CHECK(rc != IPCR_OK ||
          (stats.present == 1 && stats.publisher_alive == 1 && stats.subscribers == 1 && all[0].alive == 1));
    return rc;
}

const struct operation multicast_operations[] = {
    { "multicast: create", nothing, create, prove_created, unmake_multicast, nothing, false, false, 0 },
    { "multicast: attach", make_multicast, attach, prove_attached, unattach, unmake_multicast, false, false, 0 },
    { "multicast: publisher", make_multicast, open_publisher, prove_publisher, drop_publisher, unmake_multicast, false,
      false, 0 },
    { "multicast: subscribe", make_with_publisher, subscribe, one_message_through, drop_subscriber,
      unmake_with_publisher, false, false, 0 },
    { "multicast: observe", make_with_publisher, observe, one_message_through, drop_subscriber, unmake_with_publisher,
      false, false, 0 },
    { "multicast: publish", make_with_both, publish_to_a_sleeper, prove_woken, nothing, unmake_with_both, false, false,
      0 },
    { "multicast: wait, empty", make_with_both, wait_for_message, one_message_through, nothing, unmake_with_both, false,
      false, IPCR_EMPTY },
    { "multicast: wait, full", make_full, wait_for_room, prove_drained_and_filled, nothing, unmake_with_both, false,
      false, IPCR_FULL },
    { "multicast: look around", make_full, look_for_the_dead, prove_drained_and_filled, nothing, unmake_with_both,
      false, false, 0 },
    { "multicast: close", make_with_both, close_all, prove_left, nothing, nothing, true, true, 0 },
    { "multicast: look at file", make_with_both, look_at_file, one_message_through, nothing, unmake_with_both, false,
      false, 0 },
    { .name = NULL },
};
