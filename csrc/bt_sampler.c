/* A thread that reads every counter at a fixed rate into a ring buffer, without the Python interpreter and without allocating memory.
 *
 * The ring has one producer and one consumer. The producer is the thread; before the thread starts and after it has been joined it is the
 * caller of bt_sampler_start and bt_sampler_stop. `head` counts the records ever written and is stored by the producer with release order,
 * `tail` counts the records ever taken out and is stored by the consumer with release order; each side reads the other's counter with acquire
 * order. So a record is complete before the consumer sees it, and has been copied before the producer overwrites it. When the ring is full
 * the newest record is dropped and counted; the counters are cumulative, so the energy it would have shown is contained in the next record.
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
static const int64_t TIGHT_NS = 100000; /* a reading that took longer was interrupted, and is repeated up to TRIES times */
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
    pid_t owner; /* process that started the thread; a child made by fork has no such thread and must not wait for it */
    pthread_t thread;
    int thread_runs; /* whether the thread was created and not joined yet; used by the controlling side only */
    int stopped;
    atomic_int ended;       /* the thread is about to return; cpu_ns is final */
    atomic_int_least64_t cpu_ns;
    atomic_uint_least64_t lost;
    atomic_uint_least64_t missed;
    _Alignas(64) atomic_uint_least64_t head;
    _Alignas(64) atomic_uint_least64_t tail;
};

/* --- the producer ------------------------------------------------------------------------------------------------- */

/* Reads all sources, again where that took long because the thread lost its CPU; the shortest reading is left in `record` and `counts`. */
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
            return; /* an error is reported, not hidden by reading again */
    }
}

/* Takes one record, unless fewer than `reserve` places of the ring would stay free. */
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

/* Writes a last record that says that the thread can't wait for its timer any more. */
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
    /* touch every page now: memory from calloc causes a page fault at its first use, which would fall into a reading */
    memset(sampler->records, 0xff, capacity * sizeof *sampler->records);
    memset(sampler->counts, 0xff, capacity * count * sizeof *sampler->counts);
    return 0;
}

/* Duplicates the descriptors: were the meter closed too early, its numbers could come to mean other files, which the thread would read. */
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

/* Starts the thread with every signal blocked: signals are handled by the threads of the Python interpreter. */
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
        return; /* the thread could not be stopped and still uses this memory */
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
