/* Reading raw energy counters: MSR devices, perf events, sysfs files. Counts are returned as they are read; Python converts them and deals
 * with wraps and resets. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "bt.h"

enum { TEXT_MAX = 64 };

int bt_msr_open(const char *path, int *fd) {
    int opened;
    do {
        opened = open(path, O_RDONLY | O_CLOEXEC);
    } while (opened < 0 && errno == EINTR);
    if (opened < 0)
        return -errno;
    *fd = opened;
    return 0;
}

static int read_eight_at(int fd, uint64_t offset, uint64_t *value) {
    uint64_t got;
    ssize_t n;
    if (offset > INT64_MAX)
        return -EINVAL;
    do {
        n = pread64(fd, &got, sizeof got, (off64_t)offset);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    if (n != (ssize_t)sizeof got)
        return -EIO; /* the kernel's device never gives fewer bytes: this is another file */
    *value = got;
    return 0;
}

int bt_msr_read(int fd, uint64_t reg, uint32_t stride, uint64_t *value) {
    if (stride == 0 || reg > (uint64_t)INT64_MAX / stride)
        return -EINVAL;
    return read_eight_at(fd, reg * stride, value);
}

int bt_perf_open(uint32_t type, uint64_t config, int cpu, int *fd) {
    struct perf_event_attr attr;
    long opened;
    memset(&attr, 0, sizeof attr);
    attr.size = sizeof attr;
    attr.type = type;
    attr.config = config;
    do {
        opened = syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
    } while (opened < 0 && errno == EINTR);
    if (opened < 0)
        return -errno;
    *fd = (int)opened;
    return 0;
}

int bt_perf_read(int fd, uint64_t *value) {
    uint64_t got;
    ssize_t n;
    do {
        n = read(fd, &got, sizeof got); /* not pread: perf files have no position */
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    if (n != (ssize_t)sizeof got)
        return -EIO;
    *value = got;
    return 0;
}

static int parse_u64(const char *text, size_t length, uint64_t *value) {
    uint64_t sum = 0;
    size_t i = 0;
    while (i < length && text[i] >= '0' && text[i] <= '9') {
        if (__builtin_mul_overflow(sum, 10u, &sum) || __builtin_add_overflow(sum, (uint64_t)(text[i] - '0'), &sum))
            return -ERANGE;
        i++;
    }
    if (i == 0 || (i < length && text[i] != '\n'))
        return -EINVAL;
    *value = sum;
    return 0;
}

int bt_read_u64_text(int fd, uint64_t *value) {
    char text[TEXT_MAX];
    ssize_t n;
    do {
        n = pread64(fd, text, sizeof text, 0);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    return parse_u64(text, (size_t)n, value);
}

static int read_source(const struct bt_source *source, uint64_t *value) {
    switch (source->kind) {
    case BT_SOURCE_MSR:
        return read_eight_at(source->fd, source->offset, value);
    case BT_SOURCE_PERF:
        return bt_perf_read(source->fd, value);
    case BT_SOURCE_TEXT:
        return bt_read_u64_text(source->fd, value);
    default:
        return -EINVAL;
    }
}

static int monotonic_ns(int64_t *stamp_ns) {
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
        return -errno;
    *stamp_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    return 0;
}

int bt_read_all(const struct bt_source *sources, int count, int64_t *before_ns, int64_t *after_ns, uint64_t *values, int *failed) {
    int rc, clock_rc, i = 0;
    *failed = -1;
    rc = monotonic_ns(before_ns);
    if (rc != 0)
        return rc;
    while (i < count && (rc = read_source(&sources[i], &values[i])) == 0)
        i++;
    clock_rc = monotonic_ns(after_ns);
    if (rc == 0 && clock_rc != 0)
        return clock_rc;
    *failed = i;
    return rc;
}
