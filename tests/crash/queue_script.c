/* queue_script.c - what an operation on a queue will do, message by message, foretold; see queue_ledger.h.
 *
 * This is a queue once more, as simple as it can be written: it knows neither slots nor words nor other processes.  The
 * tests are only as good as it is right, and it is wrong wherever an operation that nobody kills does something else.
 */
#include "queue_ledger.h"

/* --- the model ---------------------------------------------------------------------------------------------------- */

static bool is_over(struct standing it) { return it.phase == IPCR_ACKED || it.phase == IPCR_DEAD; }

/* Numbers are given in the order of puts, so the lowest that can be taken is both the first of its lane and the oldest
 * of all. */
uint32_t next_takeable(const struct play *p, const struct standing at[])
{
    for (uint32_t n = 0; n < p->count; n++)
        if (at[n].phase == IPCR_READY && at[n].date != LATER)
            return n;
    return NONE;
}

struct standing given_back(const struct stage *s, uint32_t number, struct standing leased)
{
    const uint64_t most = s->operation->shape->most_deliveries;
    if (most != 0 && leased.deliveries >= most + s->play->messages[number].forgiven)
        return (struct standing){ .phase = IPCR_KEPT, .deliveries = leased.deliveries,
                                  .holder = IPCR_KEPT_DELIVERIES };
    return (struct standing){ .phase = IPCR_READY, .deliveries = leased.deliveries };
}

bool has_room(const struct stage *s, const struct standing at[], uint32_t lane, uint64_t length)
{
    const struct lane_story *story = &s->play->lanes[lane];
    uint64_t bytes = 0, slots = 0, left = 0;
    for (uint32_t i = 0; i < story->count; i++) {
        const struct standing it = at[story->numbers[i]];
        if (it.phase == IPCR_FREE || (slots == 0 && is_over(it)))
            continue; /* not there yet, or freed when the producer looks */
        slots++;
        bytes += ipcr_padded(length_of(s, story->numbers[i]));
    }
    for (uint32_t n = 0; n < s->play->count; n++)
        left += at[n].phase != IPCR_FREE && !is_over(at[n]);
    return slots < s->operation->shape->slots && bytes + ipcr_padded(length) <= s->operation->capacity &&
           (s->operation->shape->maxsize == 0 || left < s->operation->shape->maxsize);
}

bool is_free(const struct ipcr_segment *segment, int64_t byte)
{
    bool held;
    CHECK_IS(ipcr_probe(segment->fd, segment->id, byte, &held), IPCR_OK);
    return !held;
}

/* --- the script --------------------------------------------------------------------------------------------------- */

void script_step(struct stage *s, uint32_t number, struct standing becomes, bool in_hand)
{
    struct play *p = s->play;
    CHECK(p->steps < MOST_STEPS && number < p->count);
    p->script[p->steps++] = (struct step){ .number = number, .becomes = becomes, .in_hand = in_hand };
    p->foreseen[number] = becomes;
}

void script_begins(struct stage *s)
{
    for (uint32_t n = 0; n < s->play->count; n++)
        s->play->messages[n].now = s->play->foreseen[n];
    s->play->steps = 0;
}

uint32_t will_put(struct stage *s, uint64_t length)
{
    struct play *p = s->play;
    struct lane_story *story = &p->lanes[p->victim_lane];
    if (!has_room(s, p->foreseen, p->victim_lane, length))
        return NONE;
    const uint32_t number = p->count++;
    CHECK(number < MOST_MESSAGES);
    s->lengths[number] = length;
    p->messages[number].lane = p->victim_lane;
    story->numbers[story->count++] = number;
    script_step(s, number, (struct standing){ .phase = IPCR_READY }, false);
    return number;
}

void will_ack(struct stage *s, uint32_t number, bool in_hand)
{
    script_step(s, number,
                (struct standing){ .phase = IPCR_ACKED, .deliveries = s->play->foreseen[number].deliveries }, in_hand);
}

void will_return(struct stage *s, uint32_t number, enum date from)
{
    struct standing it = given_back(s, number, s->play->foreseen[number]);
    if (it.phase == IPCR_READY)
        it.date = from;
    script_step(s, number, it, false);
}

/* Lane by lane, each in the order of its messages. */
static void will_end(struct stage *s, uint32_t holder, bool only_past)
{
    for (uint32_t lane = 0; lane < LANES_ON_STAGE; lane++)
        for (uint32_t i = 0; i < s->play->lanes[lane].count; i++) {
            const uint32_t number = s->play->lanes[lane].numbers[i];
            const struct standing it = s->play->foreseen[number];
            if (it.phase == IPCR_LEASED && (only_past ? it.date == PAST : it.holder == holder))
                will_return(s, number, NEVER);
        }
}

void will_sweep(struct stage *s, uint32_t holder) { will_end(s, holder, false); }

static bool is_dead(const struct stage *s, uint32_t holder)
{
    return load_acquire32(&ipcr_queue_header(s->segment)->holders[holder].active) != 0 &&
           is_free(s->segment, IPCR_LOCK_HOLDER(holder));
}

/* The lowest number that is free; whoever had it has left nothing. */
void will_register(struct stage *s)
{
    uint32_t number = 0;
    while (!is_free(s->segment, IPCR_LOCK_HOLDER(number)))
        number++;
    s->play->victim_holder = number;
    will_sweep(s, number);
}

void will_repair(struct stage *s, bool registered)
{
    const uint32_t high = load_acquire32(&ipcr_queue_header(s->segment)->holders_high);
    for (uint32_t i = 0; i < high; i++)
        if (is_dead(s, i) && !(registered && i == s->play->victim_holder))
            will_sweep(s, i);
    if (s->operation->shape->kind == IPCR_KIND_RELIABLE)
        will_end(s, 0, true);
}

uint32_t will_lease(struct stage *s, enum date until)
{
    for (;;) {
        const uint32_t number = next_takeable(s->play, s->play->foreseen);
        if (number == NONE)
            return NONE;
        struct standing it = s->play->foreseen[number];
        if (!s->play->messages[number].perished) {
            it.deliveries++;
            it.phase = IPCR_LEASED;
            it.holder = s->play->victim_holder;
            it.date = until;
            script_step(s, number, it, false);
            return number;
        }
        it.phase = IPCR_KEPT;
        it.holder = IPCR_KEPT_EXPIRED;
        it.date = NEVER;
        script_step(s, number, it, false);
    }
}
