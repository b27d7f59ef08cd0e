/* kernel.h - a kernel in the process, behind os.h: files, descriptions with lock bytes, and mappings between guard
 * pages.  No system call per run (mappings are kept and used again), and no real time: waiting moves a clock on.
 *
 * Real in it: the double mapping of one piece of memory.  Not modelled: other processes, errors, truncation.
 */
#ifndef IPCR_TESTS_FUZZ_KERNEL_H
#define IPCR_TESTS_FUZZ_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KERNEL_DIR "fuzz"
#define KERNEL_NAME "segment"

uint64_t kernel_most_bytes(void); /* of the only file */
/* The file's memory, through a mapping that nothing watches or poisons. */
uint8_t *kernel_raw(void);
/* Does this address show the file, and which place of it?  A second copy of data counts as the first. */
bool kernel_offset(const void *at, uint64_t *offset);
/* Begin again with no file, or with one of these bytes (it has a name if `named`).  pages: as many as there may ever be. */
void kernel_reset(uint64_t pages);
void kernel_pass_time(uint64_t ns);
void kernel_make_file(const uint8_t *content, uint64_t bytes, bool named);
int kernel_open(void); /* a descriptor of the file, -1 if there is none */
/* Nothing is open, mapped or held: false, and says what is. */
bool kernel_is_idle(void);

/* What a correct program never does, or what takes too long: says so, and ends the process. */
_Noreturn void violation(const char *what, uint64_t value);

#endif
