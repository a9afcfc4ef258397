/* The write door and the launcher, without any cgroup: what a child inherits, and how a failure comes back. */
#define _GNU_SOURCE
#include "harness.h"

#include <fcntl.h>
#include <sys/wait.h>

static char *const ENVIRONMENT[] = {"GREETING=hello", NULL};

static void the_write_door(void) {
    char folder[] = "/tmp/bayestuner-c-test-XXXXXX", text[16] = {0};
    CHECK(mkdtemp(folder) != NULL);
    int at = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(at >= 0);
    CHECK_EQUAL(bt_write_file(at, "memory.max", "4096", 4), -ENOENT); /* never makes a file */
    int fd = openat(at, "memory.max", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, "max and more", 12) == 12);
    CHECK_EQUAL(bt_write_file(at, "memory.max", "4096", 4), 0);
    CHECK_EQUAL(pread(fd, text, sizeof text, 0), 4);
    CHECK(strcmp(text, "4096") == 0);
    CHECK_EQUAL(bt_write_file(-1, "/dev/full", "4096", 4), -ENOSPC);
    CHECK_EQUAL(bt_write_file(fd, "memory.max", "4096", 4), -ENOTDIR);
    close(fd);
    CHECK(unlinkat(at, "memory.max", 0) == 0);
    close(at);
    CHECK(rmdir(folder) == 0);
}

static int spawn(struct bt_spawn_request request, struct bt_spawn_result *result) {
    request.envp = ENVIRONMENT;
    request.cgroup_fd = -1;
    return bt_spawn(&request, result);
}

static void a_child_gets_what_it_was_given_and_nothing_else(void) {
    char *const argv[] = {"sh", "-c", "echo $GREETING >&2; read word <&$1; echo $word; ls /proc/self/fd | wc -l", "sh", "9", NULL};
    char text[64] = {0};
    int out[2], word[2], spare = file_with("secret", 6);
    struct bt_spawn_result result;
    CHECK(pipe2(out, O_CLOEXEC) == 0 && pipe2(word, O_CLOEXEC) == 0);
    CHECK(dup2(word[0], 9) == 9 && write(word[1], "parcel\n", 7) == 7);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC), passed[] = {9};
    CHECK(fcntl(spare, F_SETFD, 0) == 0); /* would be inherited if nobody cared */
    CHECK_EQUAL(spawn((struct bt_spawn_request){.path = "/bin/sh", .argv = argv, .stdin_fd = null, .stdout_fd = out[1], .stderr_fd = out[1],
                                                .pass_fds = passed, .pass_count = 1}, &result), 0);
    CHECK(result.pid > 0 && result.stage == BT_STAGE_NONE);
    close(out[1]);
    size_t got = 0;
    for (ssize_t n; (n = read(out[0], text + got, sizeof text - 1 - got)) > 0;)
        got += (size_t)n;
    int status = -1;
    CHECK(waitpid(result.pid, &status, 0) == result.pid && status == 0);
    CHECK(strncmp(text, "hello\nparcel\n", 13) == 0);
    CHECK(atoi(text + 13) == 5); /* 0, 1, 2, 9 and the folder that ls opened */
    if (result.pidfd >= 0)
        close(result.pidfd);
    const int opened[] = {out[0], word[0], word[1], 9, null, spare};
    for (size_t i = 0; i < sizeof opened / sizeof *opened; i++)
        close(opened[i]);
}

static void a_failure_names_its_stage_and_leaves_no_child(void) {
    char *const argv[] = {"nothing", NULL};
    struct bt_spawn_result result;
    struct bt_spawn_request request = {.path = "/no/such/program", .argv = argv, .stdin_fd = 0, .stdout_fd = 1, .stderr_fd = 2};
    int before = open_descriptors();
    CHECK_EQUAL(spawn(request, &result), -ENOENT);
    CHECK_EQUAL(result.stage, BT_STAGE_EXEC);
    request.cwd = "/no/such/folder";
    CHECK_EQUAL(spawn(request, &result), -ENOENT);
    CHECK_EQUAL(result.stage, BT_STAGE_CHDIR);
    request.cwd = NULL;
    request.join_fds = (const int[]){1000000};
    request.join_count = 1;
    CHECK_EQUAL(spawn(request, &result), -EBADF);
    CHECK_EQUAL(result.stage, BT_STAGE_JOIN);
    CHECK_EQUAL(result.index, 0);
    CHECK_EQUAL(result.pid, -1);
    CHECK_EQUAL(waitpid(-1, NULL, WNOHANG), -1);
    CHECK_EQUAL(errno, ECHILD);
    CHECK_EQUAL(open_descriptors(), before);
}

/* Root becomes uid and gid 65534 with one more group and no way back; an ordinary user is refused, which is a failure like any other. */
static void a_child_may_be_somebody_else(void) {
    char *const argv[] = {"sh", "-c", "id -u; id -g; id -G; grep -c 'Cap\\(Prm\\|Eff\\|Amb\\):.0*$' /proc/self/status", NULL};
    const uint32_t groups[] = {65534, 65533};
    const struct bt_credentials nobody = {.uid = 65534, .gid = 65534, .groups = groups, .group_count = 2};
    char text[64] = {0};
    int out[2], null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct bt_spawn_result result;
    CHECK(pipe2(out, O_CLOEXEC) == 0);
    struct bt_spawn_request request = {.path = "/bin/sh", .argv = argv, .cwd = "/", .stdin_fd = null, .stdout_fd = out[1],
                                       .stderr_fd = out[1], .credentials = &nobody, .die_with_thread = 1};
    if (geteuid() != 0) {
        CHECK_EQUAL(spawn(request, &result), -EPERM);
        CHECK_EQUAL(result.stage, BT_STAGE_USER);
    } else {
        CHECK_EQUAL(spawn(request, &result), 0);
        close(out[1]);
        out[1] = -1;
        size_t got = 0;
        for (ssize_t n; (n = read(out[0], text + got, sizeof text - 1 - got)) > 0;)
            got += (size_t)n;
        int status = -1;
        CHECK(waitpid(result.pid, &status, 0) == result.pid && status == 0);
        CHECK(strcmp(text, "65534\n65534\n65534 65533\n3\n") == 0);
        CHECK(geteuid() == 0); /* the parent stayed who it was */
        if (result.pidfd >= 0)
            close(result.pidfd);
    }
    if (out[1] >= 0)
        close(out[1]);
    close(out[0]);
    close(null);
}

int main(void) {
    RUN(the_write_door);
    RUN(a_child_gets_what_it_was_given_and_nothing_else);
    RUN(a_child_may_be_somebody_else);
    RUN(a_failure_names_its_stage_and_leaves_no_child);
    return 0;
}
