/* The extension's whole interface: cffi parses this file and the bt_*.c files include it, so there is one copy.
 * Every function returns 0 or a positive count on success and -errno on failure; outputs come last.
 * No preprocessor lines here but this comment: cffi reads it as it stands. */

int bt_abi_version(void);

/* --- bt_energy: raw counters of MSR, perf and sysfs files --------------------------------------------------------- */

/* --- bt_cgroup: writes to cgroup files and processes started inside a cgroup -------------------------------------- */
