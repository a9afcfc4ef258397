/* The sampler: its ring under load, overflow, errors, a prompt stop, fork, pinning, leaks. Run under ASan+UBSan and under TSan. */
#define _GNU_SOURCE
#include "harness.h"

#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/wait.h>

enum { MANY = 4096 };
static struct bt_record records[MANY];
static uint64_t counts[MANY * 2];

static const struct bt_sampler_options FAST = {.period_ns = 200000, .capacity = 1024, .cpu = -1};
static const struct bt_sampler_options NEVER = {.period_ns = INT64_C(3600000000000), .capacity = 4, .cpu = -1};

/* A counter that a thread of the test moves: eight bytes of a shared page, read with pread as an MSR device is. */
struct counter {
    int fd;
    atomic_uint_least64_t *value;
};

static struct counter make_counter(void) {
    struct counter made;
    made.fd = file_with("", 0);
    CHECK(ftruncate(made.fd, 4096) == 0);
    made.value = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, made.fd, 0);
    CHECK(made.value != MAP_FAILED);
    return made;
}

static void drop_counter(struct counter counter) {
    munmap(counter.value, 4096);
    close(counter.fd);
}

static struct bt_sampler *start(const struct bt_source *sources, int n, const struct bt_sampler_options *options) {
    struct bt_sampler *sampler = NULL;
    CHECK_EQUAL(bt_sampler_start(sources, n, options, &sampler), 0);
    return sampler;
}

static struct bt_sampler_stats look(struct bt_sampler *sampler) {
    struct bt_sampler_stats stats;
    bt_sampler_look(sampler, &stats);
    return stats;
}

static void wait_for_taken(struct bt_sampler *sampler, uint64_t n) {
    for (int i = 0; i < 60000 && look(sampler).taken < n; i++)
        sleep_ms(1);
    CHECK(look(sampler).taken >= n);
}

static void first_and_last_record_are_taken_at_once(void) {
    int fd = file_with("262143328850\n", 13);
    struct bt_source source = {fd, BT_SOURCE_TEXT, 0};
    int64_t begin_ns = now_ns();
    struct bt_sampler *sampler = start(&source, 1, &NEVER);
    CHECK_EQUAL(bt_sampler_drain(sampler, MANY, records, counts), 1);
    CHECK(records[0].stamp_ns >= begin_ns && records[0].stamp_ns <= now_ns());
    CHECK(records[0].uncertainty_ns >= 0);
    CHECK_EQUAL(records[0].error, 0);
    CHECK_EQUAL(records[0].failed, -1);
    CHECK(counts[0] == 262143328850u);
    CHECK(look(sampler).running && look(sampler).cpu_ns >= 0);
    int64_t stop_ns = now_ns();
    CHECK_EQUAL(bt_sampler_stop(sampler), 0); /* an hour before its next beat */
    CHECK_EQUAL(bt_sampler_stop(sampler), 0);
    CHECK(!look(sampler).running && look(sampler).cpu_ns > 0);
    CHECK_EQUAL(bt_sampler_drain(sampler, MANY, records, counts), 1);
    CHECK(records[0].stamp_ns >= stop_ns && records[0].stamp_ns <= now_ns());
    CHECK_EQUAL(bt_sampler_drain(sampler, MANY, records, counts), 0);
    bt_sampler_free(sampler);
    close(fd);
}

static atomic_int moving;

static void *move(void *argument) {
    struct counter *counter = argument;
    while (atomic_load(&moving))
        atomic_fetch_add(counter->value, 1);
    return NULL;
}

/* Both sides at once, through a ring that wraps often: nothing torn, nothing out of order, nothing unaccounted for. */
static void the_ring_under_load(void) {
    struct counter counter = make_counter();
    struct bt_source sources[2] = {{counter.fd, BT_SOURCE_MSR, 0}, {counter.fd, BT_SOURCE_MSR, 0}};
    struct bt_sampler_options options = {.period_ns = 100000, .capacity = 8, .cpu = -1};
    uint64_t seen = 0, last_count = 0, last_lost = 0;
    int64_t last_ns = 0;
    pthread_t mover;
    atomic_store(&moving, 1);
    CHECK(pthread_create(&mover, NULL, move, &counter) == 0);
    struct bt_sampler *sampler = start(sources, 2, &options);
    for (int turn = 0; turn < 100000 && seen < 1500; turn++) {
        int n = bt_sampler_drain(sampler, 1 + turn % 5, records, counts);
        for (int i = 0; i < n; i++) {
            CHECK_EQUAL(records[i].error, 0);
            CHECK(records[i].stamp_ns > last_ns && records[i].lost >= last_lost);
            CHECK(counts[2 * i] >= last_count && counts[2 * i + 1] >= counts[2 * i]);
            last_ns = records[i].stamp_ns;
            last_lost = records[i].lost;
            last_count = counts[2 * i + 1];
        }
        seen += (uint64_t)n;
        if (n == 0)
            sched_yield();
        if (turn % 256 == 0)
            sleep_ms(2); /* lets it overflow */
    }
    CHECK_EQUAL(bt_sampler_stop(sampler), 0);
    seen += (uint64_t)bt_sampler_drain(sampler, MANY, records, counts);
    CHECK(seen == look(sampler).taken);
    CHECK(seen > 100);
    bt_sampler_free(sampler);
    atomic_store(&moving, 0);
    CHECK(pthread_join(mover, NULL) == 0);
    drop_counter(counter);
}

static void overflow_is_counted_and_the_last_record_has_its_place(void) {
    struct counter counter = make_counter();
    struct bt_source source = {counter.fd, BT_SOURCE_MSR, 0};
    struct bt_sampler_options options = {.period_ns = 200000, .capacity = 4, .cpu = -1};
    struct bt_sampler *sampler = start(&source, 1, &options);
    for (int i = 0; i < 60000 && look(sampler).lost < 5; i++)
        sleep_ms(1);
    CHECK(look(sampler).lost >= 5);
    CHECK(look(sampler).taken == 3);
    atomic_store(counter.value, 99);
    CHECK_EQUAL(bt_sampler_stop(sampler), 0);
    CHECK_EQUAL(bt_sampler_drain(sampler, MANY, records, counts), 4);
    CHECK_EQUAL(records[2].lost, 0);
    CHECK(records[3].lost >= 5 && records[3].lost == look(sampler).lost);
    CHECK_EQUAL(counts[3], 99);
    bt_sampler_free(sampler);
    drop_counter(counter);
}

static void an_error_is_recorded_with_its_source_and_sampling_goes_on(void) {
    struct counter counter = make_counter();
    int fd = file_with("12345678", 8);
    struct bt_source sources[2] = {{counter.fd, BT_SOURCE_MSR, 0}, {fd, BT_SOURCE_MSR, 0}};
    struct bt_sampler *sampler = start(sources, 2, &FAST);
    int bad = 0, good_again = 0;
    close(fd); /* the sampler has descriptors of its own */
    wait_for_taken(sampler, 5);
    int n = bt_sampler_drain(sampler, MANY, records, counts);
    for (int i = 0; i < n; i++)
        CHECK_EQUAL(records[i].error, 0);
    atomic_store(counter.value, 7);
    CHECK_EQUAL(bt_sampler_stop(sampler), 0);
    bt_sampler_free(sampler);

    fd = file_with("12345678", 8);
    sources[1].fd = fd;
    sampler = start(sources, 2, &FAST);
    CHECK(ftruncate(fd, 4) == 0);
    wait_for_taken(sampler, look(sampler).taken + 3);
    CHECK(pwrite(fd, "12345678", 8, 0) == 8);
    wait_for_taken(sampler, look(sampler).taken + 3);
    CHECK_EQUAL(bt_sampler_stop(sampler), 0);
    n = bt_sampler_drain(sampler, MANY, records, counts);
    for (int i = 0; i < n; i++) {
        if (records[i].error != 0) {
            CHECK_EQUAL(records[i].error, EIO);
            CHECK_EQUAL(records[i].failed, 1);
            CHECK_EQUAL(counts[2 * i], 7);
            CHECK_EQUAL(counts[2 * i + 1], 0);
            CHECK(records[i].stamp_ns > 0);
            bad++;
        } else if (bad > 0)
            good_again++;
    }
    CHECK(bad > 0 && good_again > 0);
    bt_sampler_free(sampler);
    close(fd);
    drop_counter(counter);
}

static void a_forked_child_can_let_go_and_the_parent_goes_on(void) {
    struct counter counter = make_counter();
    struct bt_source source = {counter.fd, BT_SOURCE_MSR, 0};
    struct bt_sampler *sampler = start(&source, 1, &FAST);
    wait_for_taken(sampler, 3);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        int ok = bt_sampler_stop(sampler) == -ECHILD && bt_sampler_drain(sampler, MANY, records, counts) == -ECHILD &&
                 !look(sampler).running;
        bt_sampler_free(sampler);
        _exit(ok ? 0 : 1);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    uint64_t before = look(sampler).taken + look(sampler).lost;
    for (int i = 0; i < 60000 && look(sampler).taken + look(sampler).lost <= before + 3; i++)
        sleep_ms(1);
    CHECK(look(sampler).taken + look(sampler).lost > before + 3);
    bt_sampler_free(sampler);
    drop_counter(counter);
}

/* Whether some thread of this process may run on `cpu` alone. */
static int a_thread_is_pinned_to(int cpu) {
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *entry;
    int found = 0;
    CHECK(tasks != NULL);
    while ((entry = readdir(tasks)) != NULL) {
        cpu_set_t set;
        pid_t tid = (pid_t)atoi(entry->d_name);
        if (tid > 0 && tid != getpid() && sched_getaffinity(tid, sizeof set, &set) == 0)
            found |= CPU_COUNT(&set) == 1 && CPU_ISSET((size_t)cpu, &set);
    }
    closedir(tasks);
    return found;
}

static void pinning_works_or_is_told(void) {
    struct counter counter = make_counter();
    struct bt_source source = {counter.fd, BT_SOURCE_MSR, 0};
    struct bt_sampler_options options = NEVER;
    struct bt_sampler *sampler = NULL;
    cpu_set_t allowed;
    CHECK(sched_getaffinity(0, sizeof allowed, &allowed) == 0);
    while (!CPU_ISSET((size_t)++options.cpu, &allowed))
        continue;
    sampler = start(&source, 1, &options);
    CHECK_EQUAL(look(sampler).pin_error, 0);
    CHECK(a_thread_is_pinned_to(options.cpu) || CPU_COUNT(&allowed) == 1);
    bt_sampler_free(sampler);
    options.cpu = 100000;
    sampler = start(&source, 1, &options);
    CHECK_EQUAL(look(sampler).pin_error, EINVAL);
    CHECK(look(sampler).running);
    bt_sampler_free(sampler);
    options.cpu_required = 1;
    CHECK_EQUAL(bt_sampler_start(&source, 1, &options, &sampler), -EINVAL);
    drop_counter(counter);
}

static void bad_requests_are_refused(void) {
    int fd = file_with("1\n", 2);
    struct bt_source source = {fd, BT_SOURCE_TEXT, 0}, closed = {-1, BT_SOURCE_TEXT, 0};
    struct bt_sampler *sampler = NULL;
    struct bt_sampler_options options = FAST;
    CHECK_EQUAL(bt_sampler_start(&source, 0, &FAST, &sampler), -EINVAL);
    CHECK_EQUAL(bt_sampler_start(&closed, 1, &FAST, &sampler), -EBADF);
    options.period_ns = 0;
    CHECK_EQUAL(bt_sampler_start(&source, 1, &options, &sampler), -EINVAL);
    options = FAST;
    options.capacity = 1000; /* no power of two */
    CHECK_EQUAL(bt_sampler_start(&source, 1, &options, &sampler), -EINVAL);
    options.capacity = 1;
    CHECK_EQUAL(bt_sampler_start(&source, 1, &options, &sampler), -EINVAL);
    CHECK(sampler == NULL);
    bt_sampler_free(NULL);
    close(fd);
}

static void nothing_stays_open(void) {
    int before = open_descriptors();
    for (int i = 0; i < 50; i++) {
        struct counter counter = make_counter();
        struct bt_source sources[2] = {{counter.fd, BT_SOURCE_MSR, 0}, {i % 2 ? counter.fd : -1, BT_SOURCE_MSR, 0}};
        struct bt_sampler *sampler = NULL;
        int rc = bt_sampler_start(sources, 2, &FAST, &sampler);
        CHECK_EQUAL(rc, i % 2 ? 0 : -EBADF);
        bt_sampler_free(sampler); /* without a stop */
        drop_counter(counter);
    }
    CHECK_EQUAL(open_descriptors(), before);
}

int main(void) {
    RUN(first_and_last_record_are_taken_at_once);
    RUN(the_ring_under_load);
    RUN(overflow_is_counted_and_the_last_record_has_its_place);
    RUN(an_error_is_recorded_with_its_source_and_sampling_goes_on);
    RUN(a_forked_child_can_let_go_and_the_parent_goes_on);
    RUN(pinning_works_or_is_told);
    RUN(bad_requests_are_refused);
    RUN(nothing_stays_open);
    return 0;
}
