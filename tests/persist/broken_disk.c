/* A disk that breaks: while the file BROKEN_DISK_SWITCH exists, whatever changes something below the directory
 * BROKEN_DISK_BELOW fails with EIO. To be loaded before the system's library (LD_PRELOAD). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* Whether this path is on the broken disk. */
static int is_below(const char *path) {
    const char *below = getenv("BROKEN_DISK_BELOW"), *on = getenv("BROKEN_DISK_SWITCH");
    return path && below && on && strncmp(path, below, strlen(below)) == 0 && access(on, F_OK) == 0;
}

static int is_broken(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    if (len < 0) return 0;
    path[len] = 0;
    return is_below(path);
}

/* A function that fails for a descriptor on the broken disk, and is the system's otherwise. */
#define BREAK(type, name, parameters, arguments)                                     \
    type name parameters {                                                           \
        static type(*real) parameters;                                               \
        if (!real) real = (type(*) parameters)dlsym(RTLD_NEXT, #name);               \
        int before = errno;                                                          \
        if (is_broken(fd)) {                                                         \
            errno = EIO;                                                             \
            return -1;                                                               \
        }                                                                            \
        errno = before;                                                              \
        return real arguments;                                                       \
    }

BREAK(ssize_t, write, (int fd, const void *from, size_t len), (fd, from, len))
BREAK(ssize_t, pwrite, (int fd, const void *from, size_t len, off_t at), (fd, from, len, at))
BREAK(ssize_t, pwrite64, (int fd, const void *from, size_t len, off64_t at), (fd, from, len, at))
BREAK(ssize_t, writev, (int fd, const struct iovec *from, int count), (fd, from, count))
BREAK(int, fsync, (int fd), (fd))
BREAK(int, fdatasync, (int fd), (fd))
BREAK(int, ftruncate, (int fd, off_t len), (fd, len))
BREAK(int, ftruncate64, (int fd, off64_t len), (fd, len))

/* The same for opening a file to write to it. */
#define BREAK_OPEN(name)                                                             \
    int name(const char *path, int flags, ...) {                                     \
        static int (*real)(const char *, int, ...);                                  \
        if (!real) real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #name);  \
        va_list rest;                                                                \
        va_start(rest, flags);                                                       \
        mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;                    \
        va_end(rest);                                                                \
        if ((flags & O_ACCMODE) != O_RDONLY && is_below(path)) {                     \
            errno = EIO;                                                             \
            return -1;                                                               \
        }                                                                            \
        return real(path, flags, mode);                                              \
    }

BREAK_OPEN(open)
BREAK_OPEN(open64)
