/* heap.h - how much of the heap is in use; see heap.c. */
#ifndef IPCR_TESTS_HEAP_H
#define IPCR_TESTS_HEAP_H

long heap_alive(void); /* blocks that were allocated and not freed */

#endif
