/* queue_ledger.c - the words of a queue against the ledger; see queue_ledger.h. */
#include "queue_ledger.h"
#include "queue_stats.h"

void play_end(struct stage *s)
{
    if (s->play->mate != NULL)
        ipcr_queue_free(s->play->mate);
    free(s->play);
    s->play = NULL;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

struct view {
    struct standing found[MOST_MESSAGES];
    bool there[MOST_MESSAGES];
    uint32_t freed[LANES_ON_STAGE], put[LANES_ON_STAGE]; /* messages of each lane */
};

static uint64_t first_sequence(const struct ipcr_segment *segment)
{
    return segment->start_position + segment->options.slots;
}

static enum date date_of(uint64_t state, uint64_t now_ns)
{
    const uint32_t when = ipcr_when_of(state);
    return when == IPCR_NO_TIME ? NEVER : ipcr_is_past(when, now_ns) ? PAST : LATER;
}

/* H1: a lease has a holder whose number says so. */
static void check_holder(const struct ipcr_segment *segment, uint32_t holder)
{
    const struct ipcr_queue_header *header = ipcr_queue_header(segment);
    CHECK(holder < load_acquire32(&header->holders_high));
    CHECK_IS(load_acquire32(&header->holders[holder].active), 1);
}

static void read_message(struct stage *s, const struct ipcr_lane *lane, uint64_t sequence, uint32_t number,
                         struct view *view)
{
    const struct ipcr_slot *slot = ipcr_slot_at(lane, sequence);
    const uint64_t state = load_acquire64(&slot->state), position = load_relaxed64(&slot->position);
    const uint64_t expires = load_relaxed64(&slot->expires), now = now_ns();
    const struct standing it = {
        .phase = ipcr_phase_of(state), .deliveries = ipcr_deliveries_of(state), .holder = ipcr_holder_of(state),
        .date = date_of(state, now),
    };
    CHECK_IS(load_relaxed64(&slot->sequence), sequence);
    CHECK_IS(IPCR_INFO_TYPE(load_relaxed64(&slot->info)), number);
    CHECK_IS(load_relaxed64(&slot->length), length_of(s, number));
    CHECK(it.phase >= IPCR_READY && it.phase <= IPCR_KEPT);
    if (!ipcr_is_done(state))
        CHECK(is_stamped(lane->data + (position & (s->operation->capacity - 1)), length_of(s, number), number));
    if (it.phase == IPCR_LEASED)
        check_holder(s->segment, it.holder);
    if (it.phase == IPCR_READY && s->operation->shape->most_deliveries != 0) /* else it would be one too many */
        CHECK(it.deliveries < s->operation->shape->most_deliveries + load_relaxed32(&slot->forgiven));
    s->play->messages[number].perished = expires != 0 && now >= expires;
    s->play->messages[number].forgiven = load_relaxed32(&slot->forgiven);
    view->found[number] = it;
    view->there[number] = true;
}

/* L2: payloads stand in a row, and fit. */
static void check_position(const struct ipcr_lane *lane, uint64_t capacity, uint64_t freed, uint64_t sequence)
{
    const struct ipcr_slot *slot = ipcr_slot_at(lane, sequence), *first = ipcr_slot_at(lane, freed);
    const uint64_t position = load_relaxed64(&slot->position);
    const uint64_t behind = position + ipcr_padded(load_relaxed64(&slot->length));
    CHECK((position & 7) == 0 && behind - load_relaxed64(&first->position) <= capacity);
    if (sequence == freed)
        return;
    const struct ipcr_slot *before = ipcr_slot_at(lane, sequence - 1);
    CHECK_IS(position, load_relaxed64(&before->position) + ipcr_padded(load_relaxed64(&before->length)));
}

/* `freed` has its mark; hints are hints, but none says more than there is. */
static void check_lane_words(const struct ipcr_lane_words *w, uint64_t freed, uint64_t next, uint64_t first_left)
{
    CHECK(load_acquire64(&w->mark[0].freed) == freed || load_acquire64(&w->mark[1].freed) == freed);
    CHECK((int64_t)(next - load_acquire64(&w->head)) >= 0);
    CHECK((int64_t)(next - load_acquire64(&w->take)) >= 0);
    CHECK((int64_t)(first_left - load_acquire64(&w->settled)) >= 0); /* every message below it is done */
}

static void read_lane(struct stage *s, uint32_t index, struct view *view)
{
    struct ipcr_segment *segment = s->segment;
    const struct lane_story *story = &s->play->lanes[index];
    const struct ipcr_lane_words *w = &ipcr_queue_header(segment)->lane[index];
    const uint64_t first = first_sequence(segment), freed = load_acquire64(&w->freed);
    struct ipcr_lane *lane;
    view->freed[index] = (uint32_t)(freed - first);
    view->put[index] = view->freed[index];
    CHECK(load_acquire32(&w->used) <= 1);
    if (load_acquire32(&w->used) == 0) {
        CHECK(freed == first);
        return;
    }
    CHECK(index < load_acquire32(&ipcr_queue_header(segment)->lanes_high));
    CHECK_IS(ipcr_lane_see(segment, index, &lane), IPCR_OK);
    uint64_t at = freed, first_left = freed;
    for (; at - freed < s->operation->shape->slots; at++) {
        const uint64_t state = load_acquire64(&ipcr_slot_at(lane, at)->state);
        if (!ipcr_is_there(lane, at, state))
            break;
        CHECK(at - first < story->count); /* one that nobody has put */
        read_message(s, lane, at, story->numbers[at - first], view);
        check_position(lane, segment->capacity, freed, at);
        if (first_left == at && ipcr_is_done(state))
            first_left = at + 1;
    }
    view->put[index] = (uint32_t)(at - first);
    check_lane_words(w, freed, at, first_left);
}

/* --- comparing ---------------------------------------------------------------------------------------------------- */

static bool same(struct standing a, struct standing b)
{
    return a.phase == b.phase && a.deliveries == b.deliveries && a.date == b.date &&
           (a.holder == b.holder || (a.phase != IPCR_LEASED && a.phase != IPCR_KEPT));
}

static bool is_over(struct standing it) { return it.phase == IPCR_ACKED || it.phase == IPCR_DEAD; }

/* Do the words say what the ledger says of these standings? */
static bool agrees(const struct play *p, const struct view *view, const struct standing at[])
{
    for (uint32_t lane = 0; lane < LANES_ON_STAGE; lane++)
        for (uint32_t i = 0; i < p->lanes[lane].count; i++) {
            const uint32_t number = p->lanes[lane].numbers[i];
            const bool put = at[number].phase != IPCR_FREE;
            if (put != (i < view->put[lane]) || (i < view->freed[lane] && !is_over(at[number])) ||
                (put && view->there[number] && !same(view->found[number], at[number])))
                return false;
        }
    return true;
}

static void tell(const struct play *p, const struct view *view)
{
    static const char *const phases[] = { "not put", "ready", "leased", "acked", "dead", "kept" };
    static const char *const dates[] = { "", ", later", ", over" };
    for (uint32_t n = 0; n < p->count; n++) {
        const struct standing *it = &view->found[n], *was = &p->messages[n].now;
        printf("message %u: %s, %u deliveries, by %u%s; now", n, phases[was->phase], was->deliveries, was->holder,
               dates[was->date]);
        if (view->there[n])
            printf(" %s, %u deliveries, by %u%s", phases[it->phase], it->deliveries, it->holder, dates[it->date]);
        for (int i = 0; i < p->steps; i++)
            if (p->script[i].number == n)
                printf("; step %d: %s, %u deliveries, by %u%s", i, phases[p->script[i].becomes.phase],
                       p->script[i].becomes.deliveries, p->script[i].becomes.holder, dates[p->script[i].becomes.date]);
        printf("\n");
    }
}

int check_queue_words(struct stage *s)
{
    static struct view view;
    static struct standing at[MOST_MESSAGES];
    struct play *p = s->play;
    int done = -1;
    memset(&view, 0, sizeof view);
    for (uint32_t i = 0; i < s->operation->shape->lanes; i++)
        read_lane(s, i, &view);
    for (uint32_t n = 0; n < p->count; n++)
        at[n] = p->messages[n].now;
    for (int i = 0; i <= p->steps; i++) {
        if (agrees(p, &view, at))
            done = i;
        if (i < p->steps)
            at[p->script[i].number] = p->script[i].becomes;
    }
    if (done < 0)
        tell(p, &view);
    CHECK(done >= 0 && "the messages stand as after some steps of the script");
    for (int i = 0; i < done; i++)
        p->messages[p->script[i].number].now = p->script[i].becomes;
    check_queue_stats(s, s->segment);
    return done;
}

/* --- statistics --------------------------------------------------------------------------------------------------- */

static void add_up(struct ipcr_lane_stats *sum, const struct standing *it)
{
    sum->put++;
    sum->delivered += it->deliveries;
    sum->redelivered += it->deliveries > 1 ? it->deliveries - 1 : 0;
    sum->acknowledged += it->phase == IPCR_ACKED;
    sum->dead += it->phase == IPCR_DEAD;
    sum->ready += it->phase == IPCR_READY;
    sum->leased += it->phase == IPCR_LEASED;
    sum->kept += it->phase == IPCR_KEPT;
}

void check_queue_stats(struct stage *s, struct ipcr_segment *segment)
{
    struct ipcr_queue_stats all;
    struct ipcr_lane_stats lanes[LANES_ON_STAGE];
    CHECK_IS(ipcr_queue_stats(segment, &all, lanes, LANES_ON_STAGE), IPCR_OK);
    for (uint32_t i = 0; i < s->operation->shape->lanes; i++) {
        const struct lane_story *story = &s->play->lanes[i];
        struct ipcr_lane_stats sum = { .put = 0 };
        for (uint32_t n = 0; n < story->count; n++)
            if (s->play->messages[story->numbers[n]].now.phase != IPCR_FREE)
                add_up(&sum, &s->play->messages[story->numbers[n]].now);
        CHECK_IS(lanes[i].put, sum.put);
        CHECK_IS(lanes[i].delivered, sum.delivered);
        CHECK_IS(lanes[i].redelivered, sum.redelivered);
        CHECK_IS(lanes[i].acknowledged, sum.acknowledged);
        CHECK_IS(lanes[i].dead, sum.dead);
        CHECK_IS(lanes[i].ready, sum.ready);
        CHECK_IS(lanes[i].leased, sum.leased);
        CHECK_IS(lanes[i].kept, sum.kept);
    }
}
