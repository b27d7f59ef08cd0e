/* test_multicast_nonsense.c - words of a multicast that can't be, one by name: whoever meets one says IPCR_CORRUPT, and
 * believes nothing of that multicast from then on.  All words, with less to say of each: test_multicast_hostile.c.
 */
#include "multicasts.h"

enum { START = 500, ENTRIES = 8 };

static const struct ipcr_multicast_options *const kinds[] = { &lossless, &lossy, &evicting };
enum { KINDS = 3 };

static struct ipcr_entry *entry_of(const struct ipcr_segment *s, uint64_t sequence)
{
    return ipcr_entry_at(ipcr_entries(header_of(s)), ENTRIES - 1, sequence);
}

/* An entry in every way in which it can't be; all that read it say so, at once and from then on. */
static void a_message_whose_words_contradict_each_other_is_told(void)
{
    for (int word = 0; word < 7; word++)
        for (int observe = 0; observe < 2; observe++) {
            struct ipcr_segment *s = multicast_of(DATA, ENTRIES, &lossless, START);
            struct ipcr_publisher *p = publisher_on(s);
            struct ipcr_subscriber *r = observe ? observer_on(s, 0) : subscriber_on(s, 0);
            publish(p, 3);
            struct ipcr_entry *e = entry_of(s, START + 1);
            switch (word) {
            case 0: store_relaxed64(&e->sequence, START + 1 + ENTRIES); break;
            case 1: store_relaxed64(&e->sequence, 0); break;
            case 2: store_relaxed64(&e->position, 4); break;
            case 3: store_relaxed64(&e->length, DATA + 1); break;
            case 4: store_relaxed64(&e->length, UINT64_MAX); break;
            case 5: store_relaxed32(&e->topic_length, IPCR_MOST_TOPIC + 1); break;
            default: store_relaxed32(&e->topic_length, 8), store_relaxed64(&e->length, DATA); break;
            }
            check_receives(r, START, 1);
            CHECK_IS(try_receive(r), IPCR_CORRUPT);
            store_relaxed64(&e->sequence, START + 1);
            CHECK_IS(try_receive(r), IPCR_CORRUPT); /* it stays: nothing of this multicast is believed again */
            CHECK_IS(ipcr_subscriber_peek(r), IPCR_CORRUPT);
            ipcr_subscriber_free(r);
            ipcr_publisher_free(p);
            ipcr_segment_release(s);
        }
}

static void numbers_that_cannot_be_are_told_to_who_reads(void)
{
    for (int kind = 0; kind < KINDS; kind++)
        for (int word = 0; word < 3; word++) {
            struct ipcr_segment *s = multicast_of(DATA, ENTRIES, kinds[kind], START);
            struct ipcr_publisher *p = publisher_on(s);
            struct ipcr_multicast_header *h = header_of(s);
            struct ipcr_subscriber *r = kind == 0 ? observer_on(s, 0) : subscriber_on(s, 0);
            publish(p, 5);
            check_receives(r, START, 5);
            if (word == 0) /* back */
                store_relaxed64(&h->published, r->next - 1);
            else if (word == 1) /* as far ahead as back */
                store_relaxed64(&h->published, r->next + (UINT64_C(1) << 63));
            else /* more have gone than ever came */
                publish(p, 1), store_relaxed64(&h->oldest, r->next + 100);
            const int64_t rc = try_receive(r);
            if (word < 2 || r->lossy)
                CHECK_IS(rc, IPCR_CORRUPT);
            else
                CHECK(rc >= 0); /* it doesn't depend on it */
            ipcr_subscriber_free(r);
            ipcr_publisher_free(p);
            ipcr_segment_release(s);
        }
}

static void a_joiner_does_not_begin_among_numbers_that_cannot_be(void)
{
    struct ipcr_segment *s = multicast_of(DATA, ENTRIES, &lossless, START);
    struct ipcr_publisher *p = publisher_on(s);
    uint64_t oldest, next;
    publish(p, 5);
    store_relaxed64(&header_of(s)->oldest, START + 6);
    for (uint32_t start = 0; start < 3; start++)
        CHECK_IS(try_subscribe(s, (struct ipcr_subscription){ .start = start }, &oldest, &next), IPCR_CORRUPT);
    CHECK_IS(load_relaxed32(&header_of(s)->cursor[0].state) & IPCR_CURSOR_MASK, IPCR_CURSOR_FREE); /* it has left */
    ipcr_publisher_free(p);
    ipcr_segment_release(s);
}

static void a_successor_does_not_take_over_nonsense(void)
{
    for (int word = 0; word < 11; word++) {
        struct ipcr_segment *s = multicast_of(DATA, ENTRIES, &lossless, START);
        struct ipcr_publisher *p = publisher_on(s);
        struct ipcr_multicast_header *h = header_of(s);
        uint32_t by;
        publish(p, 13);
        struct ipcr_entry *last = entry_of(s, START + 12), *first = entry_of(s, START + 5);
        die_publishing(p);
        switch (word) {
        case 0: store_relaxed64(&h->published, START + 14); break; /* the last one's entry is another's */
        case 1: store_relaxed64(&h->published, START + 40); break;
        case 2: store_relaxed64(&h->oldest, START + 14); break;
        case 3: store_relaxed64(&h->oldest, 0); break;
        case 4: store_relaxed64(&last->sequence, 0); break;
        case 5: store_relaxed64(&last->position, load_relaxed64(&last->position) + 4); break;
        case 6: store_relaxed64(&last->position, load_relaxed64(&last->position) + DATA); break;
        case 7: store_relaxed64(&last->length, UINT64_C(1) << 60); break;
        case 8: store_relaxed32(&last->topic_length, UINT32_MAX); break;
        case 9: store_relaxed64(&first->position, load_relaxed64(&first->position) - DATA); break;
        default: /* all words agree that there were more messages than there can be: the next number would be a status */
            store_relaxed64(&h->published, UINT64_C(1) << 63);
            store_relaxed64(&h->oldest, UINT64_C(1) << 63);
            store_relaxed64(&entry_of(s, (UINT64_C(1) << 63) - 1)->sequence, (UINT64_C(1) << 63) - 1);
            break;
        }
        p = NULL;
        CHECK_IS(ipcr_publisher_open(s, 0, &by, &p), IPCR_CORRUPT);
        CHECK(p == NULL);
        CHECK_IS(ipcr_publisher_open(s, 0, &by, &p), IPCR_CORRUPT); /* and not IPCR_TAKEN: it has given the role back */
        ipcr_segment_release(s);
    }
}

/* Its own entries tell a publisher where the room begins that it gives up; others can write there. */
static void a_publisher_that_meets_nonsense_in_its_index_says_so_from_then_on(void)
{
    for (int kind = 0; kind < KINDS; kind++)
        for (int word = 0; word < 2; word++) {
            struct ipcr_segment *s = multicast_of(DATA, ENTRIES, kinds[kind], START);
            struct ipcr_publisher *p = publisher_on(s);
            publish(p, ENTRIES);
            ipcr_word64 *const position = &entry_of(s, START + 1)->position;
            store_relaxed64(position, word == 0 ? load_relaxed64(position) + 1 : load_relaxed64(position) + DATA);
            CHECK_IS(try_publish(p), IPCR_CORRUPT);
            CHECK_IS(try_publish(p), IPCR_CORRUPT);
            CHECK_IS(ipcr_publisher_claim(p, NULL, 1), IPCR_CORRUPT);
            CHECK_IS(ipcr_publisher_look_around(p), IPCR_CORRUPT);
            ipcr_publisher_free(p);
            ipcr_segment_release(s);
        }
}

/* Room is given up somewhat ahead of need: who looks that far meets what was not needed. */
static void nonsense_further_on_in_the_index_is_told_too(void)
{
    for (int kind = 0; kind < KINDS; kind++) {
        struct ipcr_segment *s = multicast_of(DATA, 8 * ENTRIES, kinds[kind], START);
        struct ipcr_publisher *p = publisher_on(s);
        publish(p, 8 * ENTRIES);
        store_relaxed64(&ipcr_entry_at(p->entries, p->mask, START + 2)->position, 3);
        CHECK_IS(try_publish(p), IPCR_CORRUPT);
        CHECK_IS(try_publish(p), IPCR_CORRUPT);
        CHECK_IS(load_relaxed64(&header_of(s)->published), START + 8 * ENTRIES);
        ipcr_publisher_free(p);
        ipcr_segment_release(s);
    }
}

int main(void)
{
    check_begin();
    run("a message whose words contradict each other is told", a_message_whose_words_contradict_each_other_is_told);
    run("numbers that cannot be are told to who reads", numbers_that_cannot_be_are_told_to_who_reads);
    run("a joiner does not begin among numbers that cannot be", a_joiner_does_not_begin_among_numbers_that_cannot_be);
    run("a successor does not take over nonsense", a_successor_does_not_take_over_nonsense);
    run("a publisher that meets nonsense in its index says so from then on",
        a_publisher_that_meets_nonsense_in_its_index_says_so_from_then_on);
    run("nonsense further on in the index is told, too", nonsense_further_on_in_the_index_is_told_too);
    return check_finish();
}
