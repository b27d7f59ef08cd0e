/* api.h - what the Python binding includes: the functions declared in cdef.h, and what they need. */
#ifndef IPCR_API_H
#define IPCR_API_H

#include "ends.h"
#include "fast_calls.h"
#include "multicast.h"
#include "multicast_stats.h"
#include "os.h"
#include "queue.h"
#include "queue_stats.h"
#include "registry.h"
#include "segment.h"
#include "stats.h"
#include "status.h"
#include "transfer.h"

#endif
