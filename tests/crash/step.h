/* step.h - a process that does one operation and is stopped after each instruction, or at each system call. */
#ifndef IPCR_TESTS_CRASH_STEP_H
#define IPCR_TESTS_CRASH_STEP_H

#include "crash.h"

enum { MAY_NOT_TRACE = 77 }; /* exit code of whoever finds that out */

struct victim {
    pid_t pid; /* 0: none */
};

/* Everybody on one CPU from now on: a step is two context switches, and on two CPUs also two wake-ups. */
void step_pin(void);

/* Start a victim; when this returns it has approached, and stands before its operation.  False: this process may
 * not trace its children. */
bool victim_start(struct victim *v, struct stage *s);

/* One instruction.  A system call is one instruction. */
void victim_step(struct victim *v);

/* Up to the next entry of a system call, or its exit.  False: it has returned, and stands. */
bool victim_to_syscall(struct victim *v, const struct stage *s);

/* SIGKILL; when this returns the kernel has closed all it had. */
void victim_kill(struct victim *v);

static inline bool has_returned(const struct stage *s) { return load_acquire32(&s->between->phase) == RETURNED; }

#endif
