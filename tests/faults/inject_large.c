/* inject_large.c - the same functions under their other names, by which CPython knows them (large file support).
 *
 * On 64-bit machines both names take the same arguments.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

_Static_assert(sizeof(struct stat64) == sizeof(struct stat), "a 64-bit machine");
_Static_assert(sizeof(struct statvfs64) == sizeof(struct statvfs), "a 64-bit machine");

int open64(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    const int mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(more, int) : 0;
    va_end(more);
    return open(path, flags, mode);
}

int fcntl64(int fd, int command, ...)
{
    va_list more;
    va_start(more, command);
    void *const argument = va_arg(more, void *);
    va_end(more);
    return fcntl(fd, command, argument);
}

int fstat64(int fd, struct stat64 *out) { return fstat(fd, (struct stat *)(void *)out); }
int lstat64(const char *path, struct stat64 *out) { return lstat(path, (struct stat *)(void *)out); }
int stat64(const char *path, struct stat64 *out) { return stat(path, (struct stat *)(void *)out); }
int statvfs64(const char *path, struct statvfs64 *out) { return statvfs(path, (struct statvfs *)(void *)out); }
int ftruncate64(int fd, off64_t length) { return ftruncate(fd, length); }

void *mmap64(void *at, size_t length, int protection, int flags, int fd, off64_t offset)
{
    return mmap(at, length, protection, flags, fd, offset);
}
