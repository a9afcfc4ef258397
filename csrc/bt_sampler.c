/* A thread that reads every counter on a fixed beat, without the interpreter, without malloc, into a ring that was allocated before.
 *
 * One producer, one consumer. The producer is the thread, and before it starts and after it has been joined whoever calls bt_sampler_start and
 * bt_sampler_stop. `head` counts records ever written and is published by the producer with release, `tail` counts records ever taken and is
 * published by the consumer with release; each side reads the other's with acquire, so a record is whole when it is seen and free
 * when it is overwritten. A full ring drops the newest record and counts it: counters are cumulative, so what a dropped record would have
 * shown is in the next one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "bt.h"

enum { STACK_BYTES = 256 * 1024, TRIES = 5, LAST_RECORD = 1 };
static const int64_t TIGHT_NS = 100000; /* a reading that took longer was interrupted: it is repeated */
static const int64_t SHORTEST_PERIOD_NS = 100000;
static const int64_t SECOND_NS = 1000000000;

struct bt_sampler {
    struct bt_source *sources;
    struct bt_record *records; /* [capacity] */
    uint64_t *counts;          /* [capacity][count] */
    uint64_t *scratch;         /* [count], of the producer */
    int count;
    uint32_t capacity; /* a power of two */
    int64_t period_ns;
    int timer_fd;
    int stop_fd;
    int pin_error;
    pid_t owner; /* threads don't survive a fork: a child must not wait for one */
    pthread_t thread;
    int thread_runs; /* of the controlling side: created and not joined yet */
    int stopped;
    atomic_int ended;       /* the thread is about to return; cpu_ns is final */
    atomic_int_least64_t cpu_ns;
    atomic_uint_least64_t lost;
    atomic_uint_least64_t missed;
    _Alignas(64) atomic_uint_least64_t head;
    _Alignas(64) atomic_uint_least64_t tail;
};

/* --- the producer ------------------------------------------------------------------------------------------------- */

/* Reads everything once, again while it takes long for lack of a CPU; the tightest reading stands in `record` and `counts`. */
static void read_tight(struct bt_sampler *sampler, struct bt_record *record, uint64_t *counts) {
    const size_t bytes = (size_t)sampler->count * sizeof *counts;
    int64_t best_ns = INT64_MAX;
    for (int turn = 0; turn < TRIES && best_ns > TIGHT_NS; turn++) {
        int64_t before_ns = 0, after_ns = 0;
        int failed = -1;
        memset(sampler->scratch, 0, bytes);
        int rc = bt_read_all(sampler->sources, sampler->count, &before_ns, &after_ns, sampler->scratch, &failed);
        if (rc == 0 && after_ns - before_ns >= best_ns)
            continue;
        best_ns = after_ns - before_ns;
        record->stamp_ns = before_ns + best_ns / 2;
        record->uncertainty_ns = (best_ns + 1) / 2;
        record->error = -rc;
        record->failed = rc == 0 ? -1 : failed;
        memcpy(counts, sampler->scratch, bytes);
        if (rc != 0)
            return; /* an error is told, never read away */
    }
}

/* Takes one record; the thread leaves `reserve` places free. */
static void take(struct bt_sampler *sampler, uint64_t reserve) {
    uint64_t head = atomic_load_explicit(&sampler->head, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&sampler->tail, memory_order_acquire);
    if (head - tail + reserve >= sampler->capacity) {
        atomic_fetch_add_explicit(&sampler->lost, 1, memory_order_relaxed);
        return;
    }
    size_t slot = (size_t)(head & (sampler->capacity - 1));
    read_tight(sampler, &sampler->records[slot], &sampler->counts[slot * (size_t)sampler->count]);
    sampler->records[slot].lost = atomic_load_explicit(&sampler->lost, memory_order_relaxed);
    atomic_store_explicit(&sampler->head, head + 1, memory_order_release);
}

/* Should the thread's own waiting fail, that is the last thing it says. */
static void tell_error(struct bt_sampler *sampler, int error) {
    uint64_t head = atomic_load_explicit(&sampler->head, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&sampler->tail, memory_order_acquire);
    if (head - tail + LAST_RECORD >= sampler->capacity)
        return;
    sampler->records[head & (sampler->capacity - 1)] =
        (struct bt_record){.lost = atomic_load_explicit(&sampler->lost, memory_order_relaxed), .error = error, .failed = -1};
    atomic_store_explicit(&sampler->head, head + 1, memory_order_release);
}

static int64_t cpu_time_ns(clockid_t clock) {
    struct timespec used;
    return clock_gettime(clock, &used) == 0 ? (int64_t)used.tv_sec * SECOND_NS + used.tv_nsec : -1;
}

static void *run(void *argument) {
    struct bt_sampler *sampler = argument;
    struct pollfd waiting[2] = {{.fd = sampler->stop_fd, .events = POLLIN}, {.fd = sampler->timer_fd, .events = POLLIN}};
    for (;;) {
        uint64_t beats = 0;
        if (poll(waiting, 2, -1) < 0) {
            if (errno == EINTR)
                continue;
            tell_error(sampler, errno);
            break;
        }
        if (waiting[0].revents != 0)
            break;
        ssize_t n = read(sampler->timer_fd, &beats, sizeof beats);
        if (n != (ssize_t)sizeof beats) {
            if (n < 0 && (errno == EINTR || errno == EAGAIN))
                continue;
            tell_error(sampler, n < 0 ? errno : EIO);
            break;
        }
        if (beats > 1)
            atomic_fetch_add_explicit(&sampler->missed, beats - 1, memory_order_relaxed);
        take(sampler, LAST_RECORD);
    }
    atomic_store_explicit(&sampler->cpu_ns, cpu_time_ns(CLOCK_THREAD_CPUTIME_ID), memory_order_relaxed);
    atomic_store_explicit(&sampler->ended, 1, memory_order_release);
    return NULL;
}

/* --- starting ----------------------------------------------------------------------------------------------------- */

static int allocate(struct bt_sampler *sampler) {
    const size_t count = (size_t)sampler->count, capacity = sampler->capacity;
    sampler->sources = calloc(count, sizeof *sampler->sources);
    sampler->records = calloc(capacity, sizeof *sampler->records);
    sampler->counts = calloc(capacity * count, sizeof *sampler->counts);
    sampler->scratch = calloc(count, sizeof *sampler->scratch);
    if (sampler->sources == NULL || sampler->records == NULL || sampler->counts == NULL || sampler->scratch == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        sampler->sources[i].fd = -1;
    /* calloc's pages come at the first touch, which would be a page fault in the middle of a reading */
    memset(sampler->records, 0xff, capacity * sizeof *sampler->records);
    memset(sampler->counts, 0xff, capacity * count * sizeof *sampler->counts);
    return 0;
}

/* Own descriptors, so that a meter closed too early can't make the thread read somebody else's file. */
static int copy_sources(struct bt_sampler *sampler, const struct bt_source *sources) {
    for (int i = 0; i < sampler->count; i++) {
        int fd = fcntl(sources[i].fd, F_DUPFD_CLOEXEC, 0);
        if (fd < 0)
            return -errno;
        sampler->sources[i] = sources[i];
        sampler->sources[i].fd = fd;
    }
    return 0;
}

static int open_clock(struct bt_sampler *sampler) {
    struct itimerspec beat;
    struct timespec now;
    sampler->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (sampler->stop_fd < 0)
        return -errno;
    sampler->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (sampler->timer_fd < 0 || clock_gettime(CLOCK_MONOTONIC, &now) != 0)
        return -errno;
    int64_t first_ns = (int64_t)now.tv_sec * SECOND_NS + now.tv_nsec + sampler->period_ns;
    beat.it_value = (struct timespec){.tv_sec = first_ns / SECOND_NS, .tv_nsec = first_ns % SECOND_NS};
    beat.it_interval = (struct timespec){.tv_sec = sampler->period_ns / SECOND_NS, .tv_nsec = sampler->period_ns % SECOND_NS};
    return timerfd_settime(sampler->timer_fd, TFD_TIMER_ABSTIME, &beat, NULL) == 0 ? 0 : -errno;
}

static int pin(pthread_t thread, int cpu) {
    const int cpus = cpu + 1;
    cpu_set_t *set = CPU_ALLOC((size_t)cpus);
    int error;
    if (set == NULL)
        return ENOMEM;
    CPU_ZERO_S(CPU_ALLOC_SIZE((size_t)cpus), set);
    CPU_SET_S((size_t)cpu, CPU_ALLOC_SIZE((size_t)cpus), set);
    error = pthread_setaffinity_np(thread, CPU_ALLOC_SIZE((size_t)cpus), set);
    CPU_FREE(set);
    return error;
}

/* With every signal blocked in the thread: handlers are the interpreter's business and run on its own threads. */
static int start_thread(struct bt_sampler *sampler) {
    pthread_attr_t attributes;
    sigset_t all, before;
    int error = pthread_attr_init(&attributes);
    if (error != 0)
        return -error;
    error = pthread_attr_setstacksize(&attributes, STACK_BYTES);
    if (error == 0) {
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        error = pthread_create(&sampler->thread, &attributes, run, sampler);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    pthread_attr_destroy(&attributes);
    sampler->thread_runs = error == 0;
    return -error;
}

int bt_sampler_start(
    const struct bt_source *sources, int count, const struct bt_sampler_options *options, struct bt_sampler **sampler) {
    if (count < 1 || options->period_ns < SHORTEST_PERIOD_NS || options->capacity < 2 || options->capacity > 1u << 24 ||
        (options->capacity & (options->capacity - 1)) != 0)
        return -EINVAL;
    struct bt_sampler *made = aligned_alloc(64, sizeof *made);
    if (made == NULL)
        return -ENOMEM;
    memset(made, 0, sizeof *made);
    made->count = count;
    made->capacity = options->capacity;
    made->period_ns = options->period_ns;
    made->timer_fd = made->stop_fd = -1;
    made->owner = getpid();
    int rc = allocate(made);
    if (rc == 0)
        rc = copy_sources(made, sources);
    if (rc == 0)
        rc = open_clock(made);
    if (rc == 0) {
        take(made, LAST_RECORD);
        rc = start_thread(made);
    }
    if (rc == 0 && options->cpu >= 0) {
        made->pin_error = pin(made->thread, options->cpu);
        if (options->cpu_required)
            rc = -made->pin_error;
    }
    if (rc != 0) {
        bt_sampler_free(made);
        return rc;
    }
    *sampler = made;
    return 0;
}

/* --- the controlling side ----------------------------------------------------------------------------------------- */

static int join(struct bt_sampler *sampler) {
    const uint64_t one = 1;
    ssize_t n;
    if (!sampler->thread_runs)
        return 0;
    do {
        n = write(sampler->stop_fd, &one, sizeof one);
    } while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof one)
        return n < 0 ? -errno : -EIO;
    int error = pthread_join(sampler->thread, NULL);
    sampler->thread_runs = error != 0;
    return -error;
}

int bt_sampler_stop(struct bt_sampler *sampler) {
    if (sampler->owner != getpid())
        return -ECHILD;
    if (sampler->stopped)
        return 0;
    int rc = join(sampler);
    if (rc == 0) {
        sampler->stopped = 1;
        take(sampler, 0);
    }
    return rc;
}

int bt_sampler_drain(struct bt_sampler *sampler, int max, struct bt_record *records, uint64_t *counts) {
    if (sampler->owner != getpid())
        return -ECHILD;
    uint64_t tail = atomic_load_explicit(&sampler->tail, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&sampler->head, memory_order_acquire);
    const size_t width = (size_t)sampler->count;
    int taken = 0;
    while (tail != head && taken < max) {
        size_t slot = (size_t)(tail & (sampler->capacity - 1));
        records[taken] = sampler->records[slot];
        memcpy(&counts[(size_t)taken * width], &sampler->counts[slot * width], width * sizeof *counts);
        tail++;
        taken++;
    }
    atomic_store_explicit(&sampler->tail, tail, memory_order_release);
    return taken;
}

void bt_sampler_look(struct bt_sampler *sampler, struct bt_sampler_stats *stats) {
    clockid_t clock;
    stats->taken = atomic_load_explicit(&sampler->head, memory_order_relaxed);
    stats->lost = atomic_load_explicit(&sampler->lost, memory_order_relaxed);
    stats->missed = atomic_load_explicit(&sampler->missed, memory_order_relaxed);
    stats->pin_error = sampler->pin_error;
    stats->running = sampler->thread_runs && sampler->owner == getpid() && !atomic_load_explicit(&sampler->ended, memory_order_acquire);
    if (stats->running && pthread_getcpuclockid(sampler->thread, &clock) == 0)
        stats->cpu_ns = cpu_time_ns(clock);
    else
        stats->cpu_ns = atomic_load_explicit(&sampler->cpu_ns, memory_order_relaxed);
}

void bt_sampler_free(struct bt_sampler *sampler) {
    if (sampler == NULL)
        return;
    if (sampler->owner == getpid() && join(sampler) != 0)
        return; /* a thread that can't be stopped still uses all of this */
    if (sampler->sources != NULL)
        for (int i = 0; i < sampler->count; i++)
            if (sampler->sources[i].fd >= 0)
                close(sampler->sources[i].fd);
    if (sampler->timer_fd >= 0)
        close(sampler->timer_fd);
    if (sampler->stop_fd >= 0)
        close(sampler->stop_fd);
    free(sampler->sources);
    free(sampler->records);
    free(sampler->counts);
    free(sampler->scratch);
    free(sampler);
}
