/* driver.c - main where there is no libFuzzer: seeds, then seeded random changes of them.  Without the compiler's
 * coverage it doesn't learn; it is there so that the check exists wherever there is a C compiler.
 *
 *     driver [--runs N] [--seconds S] [--seed N] [--failed FILE] SEED...
 *
 * An input that fails, or takes more than HANG_SECONDS, is kept in FILE; give it as the only SEED with --runs 0 to
 * see it again.
 */
#include "input.h"

#include <sanitizer/common_interface_defs.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MOST_BYTES = 4096, MOST_SEEDS = 4096, HANG_SECONDS = 60 };

static uint8_t input[MOST_BYTES];
static size_t input_bytes;
static struct {
    uint8_t *bytes;
    size_t n;
} seeds[MOST_SEEDS];
static uint64_t seed_count, done, state;
static const char *failed = "failed-input";

static uint64_t random_next(void) /* splitmix64 */
{
    uint64_t x = state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static void keep_input(void)
{
    FILE *f = fopen(failed, "wb");
    if (f != NULL) {
        fwrite(input, 1, input_bytes, f);
        fclose(f);
        fprintf(stderr, "after %llu inputs; the last is in %s\n", (unsigned long long)done, failed);
    }
}

static void on_signal(int number)
{
    fprintf(stderr, number == SIGALRM ? "VIOLATION: hangs\n" : "VIOLATION: signal %d\n", number);
    keep_input();
    _exit(1);
}

static void run_one(void)
{
    alarm(HANG_SECONDS);
    LLVMFuzzerTestOneInput(input, input_bytes);
}

static void read_seed(const char *path)
{
    FILE *f = fopen(path, "rb");
    uint8_t buffer[MOST_BYTES];
    if (f == NULL || seed_count == MOST_SEEDS) {
        fprintf(stderr, "can't read %s\n", path);
        exit(2);
    }
    const size_t n = fread(buffer, 1, sizeof buffer, f);
    fclose(f);
    seeds[seed_count].bytes = malloc(n + 1);
    memcpy(seeds[seed_count].bytes, buffer, n);
    seeds[seed_count++].n = n;
}

static void insert(size_t at, const uint8_t *bytes, size_t n)
{
    if (input_bytes + n > MOST_BYTES)
        return;
    memmove(input + at + n, input + at, input_bytes - at);
    memcpy(input + at, bytes, n);
    input_bytes += n;
}

/* A change at one place: a byte, a bit, bytes put in or taken out, a piece of another seed. */
static void change(void)
{
    const size_t at = input_bytes == 0 ? 0 : random_next() % input_bytes;
    const uint64_t other = random_next() % seed_count;
    const uint8_t bytes[4] = { (uint8_t)(random_next() % fuzzed_operations), (uint8_t)random_next(), (uint8_t)random_next(),
                               (uint8_t)random_next() };
    const size_t n = random_next() % 4 + 1;
    switch (random_next() % 6) {
    case 0:
        input[at] = bytes[1];
        break;
    case 1:
        input[at] ^= (uint8_t)(1u << random_next() % 8);
        break;
    case 2:
        insert(at, bytes, n);
        break;
    case 3:
        if (input_bytes > at + n) {
            memmove(input + at, input + at + n, input_bytes - at - n);
            input_bytes -= n;
        }
        break;
    case 4:
        if (seeds[other].n > 1) {
            const size_t from = random_next() % (seeds[other].n - 1) + 1, most = seeds[other].n - from;
            insert(at, seeds[other].bytes + from, most < 32 ? most : 32);
        }
        break;
    default:
        insert(at, bytes, 3); /* an operation with two bytes of arguments */
    }
}

static void make_input(void)
{
    const uint64_t seed = random_next() % seed_count;
    memcpy(input, seeds[seed].bytes, seeds[seed].n);
    input_bytes = seeds[seed].n;
    for (uint64_t changes = random_next() % 8 + 1; changes > 0; changes--)
        change();
}

int main(int argc, char **argv)
{
    uint64_t runs = 100000;
    time_t until = 0;
    for (int i = 1; i < argc; i++) {
        const bool has_value = i + 1 < argc;
        if (strcmp(argv[i], "--runs") == 0 && has_value)
            runs = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--seconds") == 0 && has_value)
            until = time(NULL) + (time_t)strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0 && has_value)
            state = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--failed") == 0 && has_value)
            failed = argv[++i];
        else
            read_seed(argv[i]);
    }
    if (seed_count == 0) {
        fprintf(stderr, "no seeds\n");
        return 2;
    }
    signal(SIGALRM, on_signal);
    signal(SIGABRT, on_signal);
    __sanitizer_set_death_callback(keep_input);
    for (uint64_t i = 0; i < seed_count; i++, done++) {
        memcpy(input, seeds[i].bytes, seeds[i].n);
        input_bytes = seeds[i].n;
        run_one();
    }
    for (uint64_t i = 0; until != 0 ? time(NULL) < until : i < runs; i++, done++) {
        make_input();
        run_one();
    }
    printf("%llu inputs, of them %llu seeds: no violation\n", (unsigned long long)done,
           (unsigned long long)seed_count);
    return 0;
}
