/* naming.h - names of segments: does it still lead here, and take it away.  For segment.c and presence.c; what others may
 * call is in segment.h.
 */
#ifndef IPCR_NAMING_H
#define IPCR_NAMING_H

#include "segment.h"

/* IPCR_OK, or IPCR_NOT_FOUND: the name is gone, or leads to another inode. */
int ipcr_still_named(const char *dir, const char *name, struct ipcr_file_id id);

bool ipcr_nothing_unread(struct ipcr_segment *segment);

/* Unlink `name` if it still leads to the inode behind fd.  orphans_only: IPCR_EXISTS when anybody is present.
 * read: IPCR_EXISTS also when something is unread there.  IPCR_NAME_BUSY: somebody is at it, and stopped. */
int ipcr_unlink_checked(int fd, struct ipcr_file_id id, const char *dir, const char *name, bool orphans_only,
                        struct ipcr_segment *read);

#endif
