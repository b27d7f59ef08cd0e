/* scenario_example.c - how to explore a structure that is not in the core: a value of two words behind a counter.
 *
 * The writer says what it is about to overwrite (intent), writes, and says that it is done (published).  A reader
 * copies, and then looks whether the intent is still what it was: otherwise it may have a mixture, and must not use
 * it.  That is a lossy multicast in its smallest form.  The naive reader trusts what it copied; the hasty writer
 * leaves its fence out; the hasty reader leaves out the other one.  Each of these must fail, and the explorer says so
 * if they don't.
 */
#include "stage.h"

static struct cell {
    ipcr_word64 intent, published;
    uint8_t value[16];
} *cell;
static bool writer_fences, reader_fences, validates;

static void set_up(void) { cell = own_structure(sizeof *cell); }

static void write_twice(void)
{
    for (uint64_t n = 1; n <= 2; n++) {
        const uint64_t value[2] = { n, n * 10 };
        store_relaxed64(&cell->intent, n);
        if (writer_fences)
            fence_store_store();
        racy_write(cell->value, value, sizeof value);
        store_release64(&cell->published, n);
    }
}

static void read_twice(void)
{
    for (int i = 0; i < 2; i++) {
        uint64_t value[2];
        const uint64_t published = load_acquire64(&cell->published);
        racy_copy(value, cell->value, sizeof value);
        if (reader_fences)
            fence_load_load();
        if (!validates || load_relaxed64(&cell->intent) == published)
            MUST(value[0] == published && value[1] == published * 10);
    }
}

static void perform(bool writers_fence, bool readers_fence, bool validation)
{
    writer_fences = writers_fence;
    reader_fences = readers_fence;
    validates = validation;
    model_start(1, 0, write_twice);
    model_start(2, 1, read_twice);
}

static void perform_right(void) { perform(true, true, true); }
static void perform_naive(void) { perform(true, true, false); }
static void perform_hasty_writer(void) { perform(false, true, true); }
static void perform_hasty_reader(void) { perform(true, false, true); }

#define EXAMPLE(name_, says_, perform_) .name = (name_), .says = (says_), .set_up = set_up, .perform = (perform_)
static const struct scenario scenarios[] = {
    { EXAMPLE("example", "What a reader has validated is one value, not a mixture.", perform_right) },
    { EXAMPLE("example-naive", "The same without validation.", perform_naive), .wrong = true },
    { EXAMPLE("example-hasty-writer", "The same without fence_store_store.", perform_hasty_writer), .wrong = true },
    { EXAMPLE("example-hasty-reader", "The same without fence_load_load.", perform_hasty_reader), .wrong = true },
};
ADD_SCENARIOS(scenarios)
