/* Raw counts: offsets, short reads, numbers as text, reads cut short by signals. */
#define _GNU_SOURCE
#include "harness.h"

#include <signal.h>
#include <sys/time.h>

static const uint64_t AMD_PACKAGE = 0xC001029B;

static void registers_at_64_bit_offsets(void) {
    uint64_t stored = UINT64_C(0x8000000000000005), value = 42;
    int fd = file_with(NULL, 0);
    CHECK(pwrite(fd, &stored, 8, (off_t)(AMD_PACKAGE * 8)) == 8);
    CHECK_EQUAL(bt_msr_read(fd, AMD_PACKAGE, 8, &value), 0);
    CHECK(value == stored);
    value = 42;
    CHECK_EQUAL(bt_msr_read(fd, AMD_PACKAGE * 8, 1, &value), 0);
    CHECK(value == stored);
    close(fd);
}

static void what_is_no_register_is_refused(void) {
    uint64_t value = 42;
    int fd = file_with("1234567", 7);
    CHECK_EQUAL(bt_msr_read(fd, 0, 1, &value), -EIO); /* seven bytes */
    CHECK_EQUAL(bt_msr_read(fd, 100, 1, &value), -EIO);
    CHECK_EQUAL(bt_msr_read(fd, UINT64_MAX, 1, &value), -EINVAL);
    CHECK_EQUAL(bt_msr_read(fd, UINT64_C(1) << 62, 8, &value), -EINVAL);
    CHECK_EQUAL(bt_msr_read(fd, 0, 0, &value), -EINVAL);
    close(fd);
    CHECK_EQUAL(bt_msr_read(fd, 0, 1, &value), -EBADF);
    CHECK_EQUAL(bt_msr_open("/nowhere/msr", &fd), -ENOENT);
    CHECK_EQUAL(value, 42);
}

static void numbers_as_text(void) {
    static const struct {
        const char *text;
        int rc;
        uint64_t value;
    } rows[] = {
        {"0\n", 0, 0},
        {"262143328850\n", 0, 262143328850u},
        {"18446744073709551615", 0, UINT64_MAX},
        {"00000000000000000000000000000000000000007\n", 0, 7},
        {"18446744073709551616\n", -ERANGE, 42},
        {"99999999999999999999999999999999999999999999999999999999999999999999\n", -ERANGE, 42},
        {"", -EINVAL, 42},
        {"\n1", -EINVAL, 42},
        {" 1\n", -EINVAL, 42},
        {"-1\n", -EINVAL, 42},
        {"0x10\n", -EINVAL, 42},
        {"12uJ\n", -EINVAL, 42},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t value = 42;
        int fd = file_with(rows[i].text, strlen(rows[i].text));
        CHECK_EQUAL(bt_read_u64_text(fd, &value), rows[i].rc);
        CHECK(value == rows[i].value);
        close(fd);
    }
}

static void the_first_bad_source_is_named_and_both_stamps_are_set(void) {
    uint64_t values[3] = {0};
    int64_t before_ns = 0, after_ns = 0;
    int failed = -7, good = file_with("5\n", 2), bad = file_with("five\n", 5);
    struct bt_source sources[3] = {{good, BT_SOURCE_TEXT, 0}, {bad, BT_SOURCE_TEXT, 0}, {good, BT_SOURCE_TEXT, 0}};
    CHECK_EQUAL(bt_read_all(sources, 3, &before_ns, &after_ns, values, &failed), -EINVAL);
    CHECK_EQUAL(failed, 1);
    CHECK_EQUAL(values[0], 5);
    CHECK_EQUAL(values[2], 0);
    CHECK(before_ns > 0 && after_ns >= before_ns);
    sources[1] = sources[0];
    CHECK_EQUAL(bt_read_all(sources, 3, &before_ns, &after_ns, values, &failed), 0);
    CHECK_EQUAL(failed, 3);
    CHECK_EQUAL(values[2], 5);
    sources[2].kind = 99;
    CHECK_EQUAL(bt_read_all(sources, 3, &before_ns, &after_ns, values, &failed), -EINVAL);
    CHECK_EQUAL(failed, 2);
    close(good);
    close(bad);
}

static int pipe_end;
static volatile sig_atomic_t rings;

static void on_alarm(int number) {
    static const uint64_t count = 77;
    (void)number;
    if (++rings == 3 && write(pipe_end, &count, sizeof count) != (ssize_t)sizeof count)
        _exit(9);
}

/* A pipe stands for a perf descriptor: both are read with read(2), and only a pipe can be made to wait. */
static void a_read_that_signals_cut_short_goes_on(void) {
    struct sigaction action = {.sa_handler = on_alarm}; /* without SA_RESTART */
    struct itimerval beat = {.it_interval = {0, 20000}, .it_value = {0, 20000}}, none = {{0, 0}, {0, 0}};
    uint64_t value = 0;
    int ends[2];
    CHECK(pipe(ends) == 0);
    pipe_end = ends[1];
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    CHECK(setitimer(ITIMER_REAL, &beat, NULL) == 0);
    CHECK_EQUAL(bt_perf_read(ends[0], &value), 0);
    CHECK(setitimer(ITIMER_REAL, &none, NULL) == 0);
    CHECK_EQUAL(value, 77);
    CHECK(rings >= 3);
    CHECK(write(ends[1], "short", 5) == 5);
    CHECK_EQUAL(bt_perf_read(ends[0], &value), -EIO);
    close(ends[0]);
    close(ends[1]);
}

int main(void) {
    RUN(registers_at_64_bit_offsets);
    RUN(what_is_no_register_is_refused);
    RUN(numbers_as_text);
    RUN(the_first_bad_source_is_named_and_both_stamps_are_set);
    RUN(a_read_that_signals_cut_short_goes_on);
    return 0;
}
