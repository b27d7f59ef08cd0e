/* recovery.h - whether the world goes on from a state that a death has left: asked in a process of its own, so
 * that a crash or a hang of the recovery is an answer too, and nothing that it does is left. */
#ifndef IPCR_TESTS_CRASH_RECOVERY_H
#define IPCR_TESTS_CRASH_RECOVERY_H

#include "state.h"

enum { ANSWER_ROOM = 2048 };

/* Recovers from a copy of the state.  Otherwise what failed is in answer. */
bool recovers(struct stage *s, const struct state *state, char answer[ANSWER_ROOM]);

/* The same from the segment itself, after a real death.  The scenario is over then. */
bool recovers_for_real(struct stage *s, char answer[ANSWER_ROOM]);

/* Ask `question` in a process that is a copy of this one, with all that it lives by. */
typedef void question(struct stage *s, const struct state *state);
bool ask(question *about, struct stage *s, const struct state *state, char answer[ANSWER_ROOM]);

#endif
