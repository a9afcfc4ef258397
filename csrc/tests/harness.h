/* What the C tests share: a check that names its place, and a few ways to make something to read. A failed check ends the program. */
#ifndef BT_HARNESS_H
#define BT_HARNESS_H

#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "bt.h"

#define CHECK(condition)                                                                 \
    do {                                                                                 \
        if (!(condition)) {                                                              \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                                     \
        }                                                                                \
    } while (0)

#define CHECK_EQUAL(actual, expected)                                                                                              \
    do {                                                                                                                           \
        long long actual_ = (long long)(actual), expected_ = (long long)(expected);                                                \
        if (actual_ != expected_) {                                                                                                \
            fprintf(stderr, "%s:%d: %s is %lld, not %s = %lld\n", __FILE__, __LINE__, #actual, actual_, #expected, expected_);     \
            exit(1);                                                                                                               \
        }                                                                                                                          \
    } while (0)

#define RUN(test)                     \
    do {                              \
        test();                       \
        printf("%s: ok\n", #test);    \
        fflush(stdout);               \
    } while (0)

static inline int file_with(const void *data, size_t length) {
    int fd = memfd_create("test", MFD_CLOEXEC);
    CHECK(fd >= 0);
    CHECK(length == 0 || pwrite(fd, data, length, 0) == (ssize_t)length);
    return fd;
}

static inline int open_descriptors(void) {
    int n = 0;
    DIR *folder = opendir("/proc/self/fd");
    CHECK(folder != NULL);
    while (readdir(folder) != NULL)
        n++;
    closedir(folder);
    return n;
}

static inline int64_t now_ns(void) {
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline void sleep_ms(long ms) {
    struct timespec rest = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (nanosleep(&rest, &rest) != 0)
        CHECK(errno == EINTR);
}

#endif
