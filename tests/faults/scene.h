/* scene.h - what operations are tried on; see scene.c.  One process plays both sides: each segment and each end is as
 * another process would have it. */
#ifndef IPCR_TESTS_SCENE_H
#define IPCR_TESTS_SCENE_H

#include "check.h"
#include "ends.h"
#include "transfer.h"

enum { CAPACITY = 4096, SOON_MS = 10 /* the look at the other side comes at the deadline, too */ };
#define NAME "n"

extern const char *dir; /* of named segments */
extern struct ipcr_segment *segment, *second;
extern struct ipcr_end *sender, *receiver;

void release(struct ipcr_segment **s);
void drop(struct ipcr_end **e, bool clean);
struct ipcr_end *opened(struct ipcr_segment *s, uint32_t side);
struct ipcr_end *taken(struct ipcr_segment *s, uint32_t side);

void one_message(struct ipcr_end *from, struct ipcr_end *to);
/* The segments are whole, and one: what goes in here comes out there. */
void message_through(struct ipcr_segment *in, struct ipcr_segment *out);

int create_in(const char *where, struct ipcr_segment **out);
/* As the binding does: open, attach, and anew when it was being replaced. */
int attach_as(uint32_t kind, struct ipcr_segment **out);
int attach_to(struct ipcr_segment **out); /* a ring */
/* As the child does that `segment` is handed over to: becomes `second`. */
int attach_handed_over(uint32_t kind);

/* `segment`, named, alone and with both ends in use; and away with them, as by a normal end. */
void make(void);
void unmake(void);
void make_with_ends(void);
void unmake_with_ends(void);

/* In a child, which dies with all that it has. */
void die_after(void (*act)(void));
/* The name, when nobody uses it. */
int remove_orphan(void);
void collect(void);
/* After a normal end of all: the name may have stayed, and then it is an orphan, which is collected. */
void prove_left(void);

/* A child that does it and ends well, although the fork handlers may have got little done. */
int fork_to(void (*act)(void));
void prove_forked(void);

void nothing(void);

#endif
