/* Writing cgroup files, and starting processes that are inside their cgroup before their first instruction.
 *
 * Between clone and exec the child is a copy of a Python process with threads and may call only what is async-signal-safe. So everything that
 * needs memory or a look-up (PATH, argument vectors, CPU masks) is done by the parent before. The copy is made by the system call clone3 or
 * clone and not by fork(), which would run the handlers that numerical libraries register to stop their thread pools.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bt.h"

/* From the kernel's interface, for building against older headers. */
#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#define BT_CLONE_PIDFD 0x00001000ULL
#define BT_CLONE_INTO_CGROUP 0x200000000ULL
#define BT_CLOSE_RANGE_CLOEXEC 4u

enum { FIRST_FREE_FD = 3, LAST_SIGNAL = 64, EXEC_TIMEOUT_MS = 30000, EXIT_NOT_STARTED = 127 };

struct clone3_arguments {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

/* What a child that can't execute its program writes into its pipe. */
struct report {
    int32_t stage;
    int32_t error;
    int32_t index;
};

/* --- writing files ------------------------------------------------------------------------------------------------ */

int bt_write_file(int dirfd, const char *path, const char *data, size_t length) {
    int fd, rc = 0;
    ssize_t n;
    do {
        fd = openat(dirfd < 0 ? AT_FDCWD : dirfd, path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return -errno;
    do {
        n = write(fd, data, length);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        rc = -errno;
    else if ((size_t)n != length)
        rc = -EIO;
    if (close(fd) != 0 && rc == 0 && errno != EINTR)
        rc = -errno;
    return rc;
}

/* --- the child: system calls only --------------------------------------------------------------------------------- */

static _Noreturn void give_up(int report_fd, int stage, int error, int index) {
    struct report report = {stage, error, index};
    ssize_t n;
    do {
        n = write(report_fd, &report, sizeof report);
    } while (n < 0 && errno == EINTR);
    _exit(EXIT_NOT_STARTED);
}

static int join_all(const struct bt_spawn_request *request, int *index) {
    for (int i = 0; i < request->join_count; i++) {
        ssize_t n;
        *index = i;
        do {
            n = write(request->join_fds[i], "0", 1);
        } while (n < 0 && errno == EINTR);
        if (n != 1)
            return n < 0 ? errno : EIO;
    }
    *index = -1;
    return 0;
}

static int reset_signals(void) {
    struct sigaction action;
    sigset_t none;
    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_DFL;
    for (int number = 1; number <= LAST_SIGNAL; number++)
        if (number != SIGKILL && number != SIGSTOP)
            (void)sigaction(number, &action, NULL); /* fails only for the two that libc keeps for itself */
    sigemptyset(&none);
    return sigprocmask(SIG_SETMASK, &none, NULL) == 0 ? 0 : errno;
}

/* The three descriptors are first copied to numbers from 3 on: any of them may itself be 0, 1 or 2 and would be overwritten. */
static int arrange_stdio(const struct bt_spawn_request *request) {
    const int given[3] = {request->stdin_fd, request->stdout_fd, request->stderr_fd};
    int copies[3];
    for (int i = 0; i < 3; i++) {
        copies[i] = fcntl(given[i], F_DUPFD_CLOEXEC, FIRST_FREE_FD);
        if (copies[i] < 0)
            return errno;
    }
    for (int i = 0; i < 3; i++)
        if (dup2(copies[i], i) < 0)
            return errno;
    return 0;
}

/* Marks every descriptor from 3 on close-on-exec, then takes the mark away from those that are to be inherited. */
static int arrange_descriptors(const struct bt_spawn_request *request) {
    if (syscall(SYS_close_range, (unsigned)FIRST_FREE_FD, ~0u, BT_CLOSE_RANGE_CLOEXEC) != 0) { /* before Linux 5.11 */
        struct rlimit limit;
        if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
            return errno;
        for (int fd = FIRST_FREE_FD; (rlim_t)fd < limit.rlim_cur && fd < INT32_MAX; fd++)
            (void)fcntl(fd, F_SETFD, FD_CLOEXEC); /* most numbers aren't open */
    }
    for (int i = 0; i < request->pass_count; i++)
        if (request->pass_fds[i] < FIRST_FREE_FD || fcntl(request->pass_fds[i], F_SETFD, 0) != 0)
            return request->pass_fds[i] < FIRST_FREE_FD ? EBADF : errno;
    return 0;
}

/* Leaves the caller's session keyring for an empty one: who inherits a keyring may use the keys in it, whatever his user. Where the kernel
 * has no keyrings, or a seccomp filter forbids this call, the job can't use any either. */
static int leave_keyring(void) {
    if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) >= 0 || errno == ENOSYS || errno == EPERM)
        return 0;
    return errno;
}

/* Becomes another user, with no capability left and no way back. By system calls and not by libc's functions of the same names: those change
 * every thread of the process, and libc's list of threads, in this copy of a threaded process, still holds those of the parent. */
static int become(const struct bt_credentials *who) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3];
    memset(none, 0, sizeof none);
    if (syscall(SYS_setgroups, (size_t)who->group_count, who->groups) != 0 ||
        syscall(SYS_setresgid, who->gid, who->gid, who->gid) != 0 || syscall(SYS_setresuid, who->uid, who->uid, who->uid) != 0)
        return errno;
    if (syscall(SYS_capset, &header, none) != 0) /* with some securebits the change of user alone keeps them */
        return errno;
    if (who->uid != 0 && syscall(SYS_setresuid, -1, 0, -1) == 0)
        return EPERM;
    return 0;
}

static int die_with_thread(pid_t parent) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        return errno;
    return getppid() == parent ? 0 : ESRCH; /* the parent may have died before the line above */
}

static int limit_address_space(uint64_t bytes) {
    struct rlimit limit = {.rlim_cur = bytes, .rlim_max = bytes};
    return setrlimit(RLIMIT_AS, &limit) == 0 ? 0 : errno;
}

static _Noreturn void run_child(const struct bt_spawn_request *request, pid_t parent, int pipe_fd) {
    int index = -1, error;
    int report_fd = fcntl(pipe_fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD); /* the parent may have had its stdio closed */
    if (report_fd < 0)
        give_up(pipe_fd, BT_STAGE_STDIO, errno, -1);
    if ((error = join_all(request, &index)) != 0)
        give_up(report_fd, BT_STAGE_JOIN, error, index);
    if (request->cpu_mask != NULL &&
        syscall(SYS_sched_setaffinity, 0, request->cpu_mask_bytes, request->cpu_mask) < 0)
        give_up(report_fd, BT_STAGE_AFFINITY, errno, -1);
    if (setsid() < 0)
        give_up(report_fd, BT_STAGE_SESSION, errno, -1);
    if (request->credentials != NULL && (error = leave_keyring()) != 0)
        give_up(report_fd, BT_STAGE_KEYRING, error, -1);
    if (request->credentials != NULL && (error = become(request->credentials)) != 0) /* before the next step, whose effect it would clear */
        give_up(report_fd, BT_STAGE_USER, error, -1);
    if (request->die_with_thread && (error = die_with_thread(parent)) != 0)
        give_up(report_fd, BT_STAGE_PARENT, error, -1);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        give_up(report_fd, BT_STAGE_PRIVILEGES, errno, -1);
    if ((error = arrange_stdio(request)) != 0)
        give_up(report_fd, BT_STAGE_STDIO, error, -1);
    if ((error = arrange_descriptors(request)) != 0)
        give_up(report_fd, BT_STAGE_DESCRIPTORS, error, -1);
    if (request->cwd != NULL && chdir(request->cwd) != 0)
        give_up(report_fd, BT_STAGE_CHDIR, errno, -1);
    if (request->address_space != 0 && (error = limit_address_space(request->address_space)) != 0)
        give_up(report_fd, BT_STAGE_LIMITS, error, -1);
    if ((error = reset_signals()) != 0)
        give_up(report_fd, BT_STAGE_SIGNALS, error, -1);
    execve(request->path, request->argv, request->envp);
    give_up(report_fd, BT_STAGE_EXEC, errno, -1);
}

/* --- the parent --------------------------------------------------------------------------------------------------- */

/* Returns as fork does. Where no cgroup is asked for and clone3 is missing or forbidden (before Linux 5.3, some seccomp filters), clone is
 * used. */
static pid_t clone_child(int cgroup_fd, int *pidfd) {
    struct clone3_arguments arguments;
    long pid;
    memset(&arguments, 0, sizeof arguments);
    arguments.flags = BT_CLONE_PIDFD;
    arguments.pidfd = (uint64_t)(uintptr_t)pidfd;
    arguments.exit_signal = SIGCHLD;
    if (cgroup_fd >= 0) {
        arguments.flags |= BT_CLONE_INTO_CGROUP;
        arguments.cgroup = (uint64_t)cgroup_fd;
    }
    *pidfd = -1;
    pid = syscall(SYS_clone3, &arguments, sizeof arguments);
    if (pid >= 0 || cgroup_fd >= 0 || (errno != ENOSYS && errno != EPERM && errno != E2BIG))
        return (pid_t)pid;
    pid = syscall(SYS_clone, (unsigned long)SIGCHLD, 0UL, 0UL, 0UL, 0UL);
    if (pid > 0) {
        int opened = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
        *pidfd = opened < 0 ? -1 : opened;
    }
    return (pid_t)pid;
}

static void reap(pid_t pid) {
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}

/* Waits for the outcome of a start: 0 when exec closed the pipe, 1 when the child wrote a report, else -errno. */
static int await_exec(int fd, struct report *report) {
    struct pollfd waiting = {.fd = fd, .events = POLLIN};
    ssize_t n;
    int ready;
    do {
        ready = poll(&waiting, 1, EXEC_TIMEOUT_MS);
    } while (ready < 0 && errno == EINTR);
    if (ready <= 0)
        return ready == 0 ? -ETIMEDOUT : -errno;
    do {
        n = read(fd, report, sizeof *report);
    } while (n < 0 && errno == EINTR);
    if (n == 0)
        return 0;
    if (n < 0)
        return -errno;
    return n == (ssize_t)sizeof *report ? 1 : -EIO;
}

/* Gets rid of a child whose start failed. One that hangs, because its group is frozen, is killed but not waited for: the caller has to,
 * once it can die. */
static int abandon(pid_t pid, int pidfd, int rc, const struct report *report, struct bt_spawn_result *result) {
    if (rc == 1) {
        result->stage = report->stage;
        result->index = report->index;
        rc = report->error > 0 ? -report->error : -EIO;
        reap(pid);
    } else {
        result->stage = BT_STAGE_TIMEOUT;
        result->pid = pid;
        (void)kill(pid, SIGKILL);
    }
    if (pidfd >= 0)
        close(pidfd);
    return rc;
}

int bt_spawn(const struct bt_spawn_request *request, struct bt_spawn_result *result) {
    struct report report;
    sigset_t all, before;
    int ends[2], pidfd, rc;
    pid_t parent = getpid(), pid;

    *result = (struct bt_spawn_result){.pid = -1, .pidfd = -1, .stage = BT_STAGE_PIPE, .index = -1};
    if (pipe2(ends, O_CLOEXEC) != 0)
        return -errno;
    /* No signal handler of this process may run in the child: signals stay blocked there until reset_signals. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid = clone_child(request->cgroup_fd, &pidfd);
    if (pid == 0)
        run_child(request, parent, ends[1]);
    rc = pid < 0 ? -errno : 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(ends[1]);
    if (rc != 0) {
        result->stage = BT_STAGE_CLONE;
        close(ends[0]);
        return rc;
    }
    rc = await_exec(ends[0], &report);
    close(ends[0]);
    if (rc != 0)
        return abandon(pid, pidfd, rc, &report, result);
    *result = (struct bt_spawn_result){.pid = pid, .pidfd = pidfd, .stage = BT_STAGE_NONE, .index = -1};
    return 0;
}
