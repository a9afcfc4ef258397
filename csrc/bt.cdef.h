/* The extension's whole interface: cffi parses this file and the bt_*.c files include it, so there is one copy.
 * Every function returns 0 or a positive count on success and -errno on failure; outputs come last.
 * No preprocessor lines here but this comment: cffi reads it as it stands. C files include it through bt.h. */

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

/* Opens an MSR device (or a stand-in file) for reading. */
int bt_msr_open(const char *path, int *fd);

/* Reads one 64-bit register. The device counts registers in steps of 1 (stride 1); files that stand in for it use 8, because
 * eight-byte registers numbered one apart would overlap. -EIO for anything but eight bytes. */
int bt_msr_read(int fd, uint64_t reg, uint32_t stride, uint64_t *value);

/* Opens a system-wide counting perf event on one CPU. */
int bt_perf_open(uint32_t type, uint64_t config, int cpu, int *fd);

/* Reads the 64-bit count of a perf event; -EIO for anything but eight bytes. */
int bt_perf_read(int fd, uint64_t *value);

/* Reads a non-negative decimal from the start of a file that is kept open; -EINVAL where there is none, -ERANGE above 2^64 - 1. */
int bt_read_u64_text(int fd, uint64_t *value);

/* Reads `count` sources back to back, with CLOCK_MONOTONIC taken before the first and after the last. At the first that fails it
 * stops, returns its -errno and leaves its index in *failed (-1: the clock); otherwise *failed is `count`. Both stamps are set either way. */
int bt_read_all(const struct bt_source *sources, int count, int64_t *before_ns, int64_t *after_ns, uint64_t *values, int *failed);

/* --- bt_sampler: a thread that reads all of these on a fixed beat ------------------------------------------------- */

struct bt_sampler;

struct bt_sampler_options {
    int64_t period_ns; /* at least 100 us */
    uint32_t capacity; /* records that wait for their drain: a power of two from 2 to 2^24 */
    int cpu;           /* the only one the thread may run on; -1: wherever the starting thread may */
    int cpu_required;  /* whether start fails when that can't be had; otherwise `pin_error` tells */
};

/* One reading; its raw counts stand beside it. */
struct bt_record {
    int64_t stamp_ns;       /* CLOCK_MONOTONIC in the middle of the reading */
    int64_t uncertainty_ns; /* half of what it took */
    uint64_t lost;          /* how many records had been dropped by then, in all */
    int32_t error;          /* errno of the first source that could not be read; 0: none. The counts from there on are 0 */
    int32_t failed;         /* its index; -1: none, or a clock or timer */
};

struct bt_sampler_stats {
    uint64_t taken;  /* records written */
    uint64_t lost;   /* dropped because the ring was full */
    uint64_t missed; /* beats that passed while the thread had no CPU */
    int64_t cpu_ns;  /* CPU time of the thread; -1: unknown */
    int pin_error;   /* errno of the pinning; 0: none, or not asked for */
    int running;
};

/* Takes a first record and starts the thread. It reads through duplicates of the descriptors, every signal blocked, and allocates nothing.
 * One thread at a time may call the functions below. In a child made by fork they return -ECHILD, and bt_sampler_free only releases the
 * child's copies: the thread lives on in the parent alone. */
int bt_sampler_start(const struct bt_source *sources, int count, const struct bt_sampler_options *options, struct bt_sampler **sampler);

/* Moves up to `max` records out of the ring, oldest first, `count` counts each; returns how many. Also after the stop. */
int bt_sampler_drain(struct bt_sampler *sampler, int max, struct bt_record *records, uint64_t *counts);

/* Ends the thread and takes a last record, for which a place was kept. May be called twice. */
int bt_sampler_stop(struct bt_sampler *sampler);

void bt_sampler_look(struct bt_sampler *sampler, struct bt_sampler_stats *stats);

/* Stops where that was not done, then releases everything. NULL is fine. */
void bt_sampler_free(struct bt_sampler *sampler);

/* --- bt_cgroup: writes to cgroup files and processes started inside a cgroup -------------------------------------- */

/* Writes `data` to an existing file with one write(2), as kernel files want it. `path` is relative to `dirfd`; a negative dirfd
 * means the working directory. -EIO where the kernel takes only a part. */
int bt_write_file(int dirfd, const char *path, const char *data, size_t length);

/* Where bt_spawn failed. */
enum bt_spawn_stage {
    BT_STAGE_NONE = 0,
    BT_STAGE_PIPE,
    BT_STAGE_CLONE,
    BT_STAGE_JOIN, /* `index` in bt_spawn_result says which of join_fds */
    BT_STAGE_AFFINITY,
    BT_STAGE_SESSION,
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

/* Who a process is to be; only a privileged caller may choose. */
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
    const char *cwd;          /* NULL: stay */
    int cgroup_fd;            /* cgroup v2 directory to be born in (clone3, CLONE_INTO_CGROUP); -1: none */
    const int *join_fds;      /* opened cgroup.procs files to join before exec */
    int join_count;
    const uint8_t *cpu_mask;  /* bit n of the little-endian mask = CPU n; NULL: leave the affinity */
    size_t cpu_mask_bytes;    /* a multiple of sizeof(long) */
    int stdin_fd;
    int stdout_fd;
    int stderr_fd;
    const int *pass_fds;      /* stay open under the same number, all >= 3 */
    int pass_count;
    uint64_t address_space;   /* RLIMIT_AS in bytes; 0: leave it */
    int die_with_thread;      /* SIGKILL the child when the calling THREAD ends (PR_SET_PDEATHSIG) */
    const struct bt_credentials *credentials; /* become this user, without any capability; NULL: stay who we are */
};

struct bt_spawn_result {
    int pid;
    int pidfd; /* close-on-exec; -1 on kernels without pidfd_open */
    int stage; /* enum bt_spawn_stage of the failure */
    int index;
};

/* Starts a program as the leader of a new session, inside its cgroups and on its CPUs before its first instruction; returns when
 * exec has happened or failed. Where it fails no child is left. */
int bt_spawn(const struct bt_spawn_request *request, struct bt_spawn_result *result);
