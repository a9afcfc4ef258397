/* The whole interface of the extension. cffi parses this file and the bt_*.c files include it (through bt.h), so there is one copy of it.
 * Every function returns 0 or a positive count on success and -errno on failure; output parameters come last.
 * Preprocessor lines can't stand here: cffi doesn't understand them. */

int bt_abi_version(void);

/* --- bt_energy: raw counters of MSR, perf and sysfs files --------------------------------------------------------- */

/* How the counter of a source is read. */
enum bt_source_kind {
    BT_SOURCE_MSR = 0,  /* eight bytes at `offset` (register number * stride) */
    BT_SOURCE_PERF = 1, /* eight bytes from a perf event */
    BT_SOURCE_TEXT = 2  /* a decimal number at the start of a sysfs file */
};

struct bt_source {
    int fd;
    int kind;
    uint64_t offset;
};

/* Opens an MSR device for reading (or, in tests, a file in its place). */
int bt_msr_open(const char *path, int *fd);

/* Reads the 64-bit register number `reg`, at the offset reg * stride. The kernel's device has a stride of 1; the files of tests have 8,
 * because in a file eight-byte registers that are one byte apart would overlap. -EIO where fewer than eight bytes are read. */
int bt_msr_read(int fd, uint64_t reg, uint32_t stride, uint64_t *value);

/* Opens a system-wide counting perf event on one CPU. */
int bt_perf_open(uint32_t type, uint64_t config, int cpu, int *fd);

/* Reads the 64-bit count of a perf event; -EIO where fewer than eight bytes are read. */
int bt_perf_read(int fd, uint64_t *value);

/* Reads a non-negative decimal number from the start of an open file; -EINVAL where there is none, -ERANGE above 2^64 - 1. */
int bt_read_u64_text(int fd, uint64_t *value);

/* Reads `count` sources back to back, with CLOCK_MONOTONIC taken before the first and after the last. Where a source can't be read it
 * stops, returns -errno and sets *failed to the index of that source (-1: the clock failed); otherwise *failed is `count`. Both stamps are
 * set either way. */
int bt_read_all(const struct bt_source *sources, int count, int64_t *before_ns, int64_t *after_ns, uint64_t *values, int *failed);

/* --- bt_sampler: a thread that reads sources at a fixed rate ------------------------------------------------------- */

struct bt_sampler;

struct bt_sampler_options {
    int64_t period_ns; /* at least 100 us */
    uint32_t capacity; /* how many records the ring holds: a power of two from 2 to 2^24 */
    int cpu;           /* the only CPU on which the thread may run; -1: those on which the calling thread may */
    int cpu_required;  /* whether bt_sampler_start fails where the thread can't be pinned to `cpu`; else see `pin_error` */
};

/* One reading; its raw counts are in an array beside it. */
struct bt_record {
    int64_t stamp_ns;       /* CLOCK_MONOTONIC in the middle of the reading */
    int64_t uncertainty_ns; /* half of the time that the reading took */
    uint64_t lost;          /* how many records had been dropped up to then, in all */
    int32_t error;          /* errno of the first source that could not be read, whose count and those after it are 0; 0: no error */
    int32_t failed;         /* index of that source; -1: no error, or the clock or the timer failed */
};

struct bt_sampler_stats {
    uint64_t taken;  /* records written */
    uint64_t lost;   /* records dropped because the ring was full */
    uint64_t missed; /* readings that were due while the thread had no CPU, and were not made */
    int64_t cpu_ns;  /* CPU time of the thread; -1: unknown */
    int pin_error;   /* errno of the pinning; 0: it succeeded, or was not asked for */
    int running;     /* whether the thread still reads */
};

/* Takes a first record and starts the thread. The thread reads through duplicates of the descriptors, blocks every signal, and allocates
 * no memory. The functions below may be called by one thread at a time. In a child made by fork they return -ECHILD, and bt_sampler_free only
 * releases the child's copies, because the thread exists in the parent alone. */
int bt_sampler_start(const struct bt_source *sources, int count, const struct bt_sampler_options *options, struct bt_sampler **sampler);

/* Moves up to `max` records out of the ring, the oldest first, with the counts of all sources for each; returns how many. It may be called
 * after bt_sampler_stop as well. */
int bt_sampler_drain(struct bt_sampler *sampler, int max, struct bt_record *records, uint64_t *counts);

/* Ends the thread and takes a last record, for which the ring keeps a place free. May be called twice. */
int bt_sampler_stop(struct bt_sampler *sampler);

/* Fills in the statistics up to now. */
void bt_sampler_look(struct bt_sampler *sampler, struct bt_sampler_stats *stats);

/* Stops the thread where it still runs, then releases everything. NULL is allowed. */
void bt_sampler_free(struct bt_sampler *sampler);

/* --- bt_cgroup: writes to cgroup files and processes started inside a cgroup -------------------------------------- */

/* Writes `data` to an existing file with one write(2), as files of the kernel require. `path` is relative to `dirfd`, where that is negative
 * to the working directory. -EIO where the kernel takes only a part of `data`. */
int bt_write_file(int dirfd, const char *path, const char *data, size_t length);

/* The step in which bt_spawn failed. */
enum bt_spawn_stage {
    BT_STAGE_NONE = 0,
    BT_STAGE_PIPE,
    BT_STAGE_CLONE,
    BT_STAGE_JOIN, /* `index` in bt_spawn_result says which of join_fds */
    BT_STAGE_AFFINITY,
    BT_STAGE_SESSION,
    BT_STAGE_KEYRING,
    BT_STAGE_USER,
    BT_STAGE_SIGNALS,
    BT_STAGE_PARENT,
    BT_STAGE_PRIVILEGES,
    BT_STAGE_LIMITS,
    BT_STAGE_STDIO,
    BT_STAGE_DESCRIPTORS,
    BT_STAGE_CHDIR,
    BT_STAGE_EXEC,
    BT_STAGE_TIMEOUT
};

/* The user a process is to run as; only a privileged caller may choose one. */
struct bt_credentials {
    uint32_t uid;
    uint32_t gid;
    const uint32_t *groups; /* supplementary groups */
    int group_count;
};

struct bt_spawn_request {
    const char *path;         /* file to execute; looked up in PATH by the caller */
    char *const *argv;        /* ends with NULL */
    char *const *envp;        /* ends with NULL */
    const char *cwd;          /* folder to run in; NULL: that of the caller */
    int cgroup_fd;            /* cgroup v2 directory in which the process is created (clone3, CLONE_INTO_CGROUP); -1: none */
    const int *join_fds;      /* opened cgroup.procs files of the groups that the process joins before exec */
    int join_count;
    const uint8_t *cpu_mask;  /* its CPU affinity: bit n of the little-endian mask is CPU n; NULL: that of the caller */
    size_t cpu_mask_bytes;    /* a multiple of sizeof(long) */
    int stdin_fd;
    int stdout_fd;
    int stderr_fd;
    const int *pass_fds;      /* descriptors that stay open under the same number, all >= 3 */
    int pass_count;
    uint64_t address_space;   /* limit on the address space (RLIMIT_AS) in bytes; 0: that of the caller */
    int die_with_thread;      /* whether the kernel sends it SIGKILL when the calling THREAD ends (PR_SET_PDEATHSIG) */
    const struct bt_credentials *credentials; /* the user to become, without any capability or inherited key; NULL: that of the caller */
};

struct bt_spawn_result {
    int pid;   /* after BT_STAGE_TIMEOUT: of a child that was sent SIGKILL and that the caller has to wait for */
    int pidfd; /* close-on-exec; -1 on kernels without pidfd_open */
    int stage; /* enum bt_spawn_stage of the failure */
    int index;
};

/* Starts a program as the leader of a new session. It is inside its cgroups and on its CPUs before its first instruction. Returns when exec
 * has happened or a step has failed; where one has failed no child is left but after BT_STAGE_TIMEOUT. */
int bt_spawn(const struct bt_spawn_request *request, struct bt_spawn_result *result);
