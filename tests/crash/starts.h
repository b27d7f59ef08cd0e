/* starts.h - where an operation finds its ring: empty, in use, full, and with each record of it across the end of
 * the data at every residue.  At the end of the data the positions themselves pass 2^64 as well. */
#ifndef IPCR_TESTS_CRASH_STARTS_H
#define IPCR_TESTS_CRASH_STARTS_H

#include "ledger.h"

#define BEFORE_END(bytes) { #bytes " bytes before the end", UINT64_C(0) - (bytes), AS_NEEDED }
#define EIGHT_RESIDUES                                                                                        \
    BEFORE_END(8), BEFORE_END(16), BEFORE_END(24), BEFORE_END(32), BEFORE_END(40), BEFORE_END(48), BEFORE_END(56), \
        BEFORE_END(64)
#define MORE_RESIDUES                                                                                             \
    BEFORE_END(72), BEFORE_END(80), BEFORE_END(88), BEFORE_END(96), BEFORE_END(104), BEFORE_END(112),             \
        BEFORE_END(120), BEFORE_END(128), BEFORE_END(136), BEFORE_END(144), BEFORE_END(152), BEFORE_END(160)

#define USUAL                                                                                          \
    { "empty", 0, NOTHING }, { "one message", 0, ONE }, { "full", 64, FULL }, { "full but for this", 128, EXACT }

/* For records of up to 64 bytes, and for a row of them. */
static const struct start around_a_record[] = { USUAL, EIGHT_RESIDUES };
static const struct start around_a_row[] = { USUAL, EIGHT_RESIDUES, MORE_RESIDUES };

#endif
