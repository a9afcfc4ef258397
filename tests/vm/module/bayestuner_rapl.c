// SPDX-License-Identifier: GPL-2.0
/*
 * bayestuner_rapl: synthetic RAPL counters for BayesTuner's tests in a guest. For nothing else: with it loaded every energy figure of the
 * machine is made up.
 *
 * It replaces what native_read_msr() and native_read_msr_safe() return for the RAPL registers, on the CPU that executes the read. Everything
 * above is the kernel's own and unchanged: msr.ko (/dev/cpu/N/msr), intel_rapl_msr.ko (powercap) and rapl.ko (the perf PMU "power").
 *
 * Each package draws package_mw, wake_mw more while one of its CPUs is busy, and cpu_mw for each busy CPU; its memory draws dram_mw. A CPU is
 * busy when it rested for less than 3 % of the last 200 ms or more, by the idle clocks of the guest's own kernel: one that does a little now
 * and then, as the tuner does, sleeps deeply enough to draw nothing here. As real counters do, these move about once per millisecond, are 32
 * bits wide, and count package energy in units of 2^-esu J and DRAM energy in units of dram_unit_nj.
 */
#include <linux/kprobes.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/smp.h>
#include <linux/spinlock.h>
#include <linux/tick.h>
#include <linux/topology.h>

#define PACKAGES 2
#define STEP_US 1000
#define LOOK_US 200000
#define REST_PERCENT 3

#define REG_UNIT 0x606
#define REG_PACKAGE_LIMIT 0x610
#define REG_PACKAGE_ENERGY 0x611
#define REG_PACKAGE_INFO 0x614
#define REG_DRAM_ENERGY 0x619

static uint esu = 14;
module_param(esu, uint, 0444);
static uint dram_unit_nj = 15300;
module_param(dram_unit_nj, uint, 0444);

static uint package_mw[PACKAGES] = { 100000, 80000 };
module_param_array(package_mw, uint, NULL, 0644);
static uint dram_mw[PACKAGES] = { 20000, 10000 };
module_param_array(dram_mw, uint, NULL, 0644);
static uint wake_mw;
module_param(wake_mw, uint, 0644);
static uint cpu_mw;
module_param(cpu_mw, uint, 0644);

static bool frozen; /* counters stand still, as those of a hung driver */
module_param(frozen, bool, 0644);
static bool zero; /* counters read 0, as most hypervisors have them */
module_param(zero, bool, 0644);
static bool unlocked; /* power limits can be written, and hold; as the firmware of many servers leaves them, they can't */
module_param(unlocked, bool, 0444);
static uint failing; /* bit mask of packages whose energy registers answer with a fault */
module_param(failing, uint, 0644);

struct domain {
	u64 nj; /* counted since the last jump */
	u32 start; /* raw counts at the last jump */
};

static struct domain package[PACKAGES], dram[PACKAGES];
static DEFINE_RAW_SPINLOCK(lock);
static u64 last_us, last_look_us;
static u64 idle_us[NR_CPUS];
static u64 busy_mw[PACKAGES]; /* drawn for busy CPUs */

/* Limits of a 120 W part, enabled: PL1 120 W, PL2 144 W, in 1/8 W. */
#define LIMITS 0x00008480005A83C0ULL
#define LIMITS_LOCKED BIT_ULL(63)
#define LIMIT_EIGHTHS_W 0x7fff
static u64 limits[PACKAGES] = { LIMITS, LIMITS };

/* Writing N to jump puts every counter to N raw counts: just below 2^32 it wraps soon, 0 is a reset. */
static int set_jump(const char *text, const struct kernel_param *param)
{
	unsigned long flags;
	u32 raw;
	int error = kstrtou32(text, 0, &raw), i;

	if (error)
		return error;
	raw_spin_lock_irqsave(&lock, flags);
	for (i = 0; i < PACKAGES; i++) {
		package[i] = (struct domain){ .start = raw };
		dram[i] = (struct domain){ .start = raw };
	}
	raw_spin_unlock_irqrestore(&lock, flags);
	return 0;
}
static const struct kernel_param_ops jump_ops = { .set = set_jump };
module_param_cb(jump, &jump_ops, NULL, 0200);

static int package_of(int cpu)
{
	return clamp_t(int, topology_physical_package_id(cpu), 0, PACKAGES - 1);
}

static u64 idle_clock_us(int cpu)
{
	return get_cpu_idle_time_us(cpu, NULL) + get_cpu_iowait_time_us(cpu, NULL);
}

/* See which CPUs were busy since the last look, and what that draws. */
static void look(u64 now_us)
{
	u64 dt_us = now_us - last_look_us;
	uint busy[PACKAGES] = {};
	int cpu, i;

	for_each_online_cpu(cpu) {
		u64 idle = idle_clock_us(cpu);

		if ((idle - idle_us[cpu]) * 100 < REST_PERCENT * dt_us)
			busy[package_of(cpu)]++;
		idle_us[cpu] = idle;
	}
	last_look_us = now_us;
	for (i = 0; i < PACKAGES; i++)
		busy_mw[i] = busy[i] ? wake_mw + (u64)cpu_mw * busy[i] : 0;
}

/* Add what was drawn since the last call. Under the lock. */
static void advance(void)
{
	u64 now_us = div_u64(ktime_get_mono_fast_ns(), NSEC_PER_USEC), dt_us = now_us - last_us;
	int i;

	if (dt_us < STEP_US)
		return;
	if (now_us - last_look_us >= LOOK_US)
		look(now_us);
	last_us = now_us;
	if (frozen)
		return;
	for (i = 0; i < PACKAGES; i++) { /* mW * us = nJ */
		u64 limit_mw = (READ_ONCE(limits[i]) & LIMIT_EIGHTHS_W) * 125;

		package[i].nj += min(package_mw[i] + busy_mw[i], unlocked ? limit_mw : U64_MAX) * dt_us;
		dram[i].nj += dram_mw[i] * dt_us;
	}
}

static u32 energy(u32 reg)
{
	unsigned long flags;
	u32 raw;
	int i = package_of(smp_processor_id());

	if (zero)
		return 0;
	raw_spin_lock_irqsave(&lock, flags);
	advance();
	if (reg == REG_PACKAGE_ENERGY)
		raw = package[i].start + (u32)mul_u64_u64_div_u64(package[i].nj, 1ULL << esu, NSEC_PER_SEC);
	else
		raw = dram[i].start + (u32)div_u64(dram[i].nj, dram_unit_nj);
	raw_spin_unlock_irqrestore(&lock, flags);
	return raw;
}

/* The value of a register that is injected; false for every other one. */
static bool inject(u32 reg, u64 *value)
{
	switch (reg) {
	case REG_UNIT:
		*value = 0xA0003 | esu << 8;
		return true;
	case REG_PACKAGE_LIMIT:
		*value = limits[package_of(smp_processor_id())] | (unlocked ? 0 : LIMITS_LOCKED);
		return true;
	case REG_PACKAGE_INFO:
		*value = 0x002F0780010003C0;
		return true;
	case REG_PACKAGE_ENERGY:
	case REG_DRAM_ENERGY:
		*value = energy(reg);
		return true;
	}
	return false;
}

struct call {
	u32 reg;
	int *error; /* of native_read_msr_safe(); native_read_msr() has none */
};

static int on_entry(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	((struct call *)instance->data)->reg = regs->di;
	((struct call *)instance->data)->error = NULL;
	return 0;
}

static int on_safe_entry(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	((struct call *)instance->data)->reg = regs->di;
	((struct call *)instance->data)->error = (int *)regs->si;
	return 0;
}

static int on_return(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct call *call = (struct call *)instance->data;
	bool is_energy = call->reg == REG_PACKAGE_ENERGY || call->reg == REG_DRAM_ENERGY;
	u64 value;

	if (!inject(call->reg, &value))
		return 0;
	regs->ax = value;
	if (call->error)
		*call->error = is_energy && failing & BIT(package_of(smp_processor_id())) ? -EIO : 0;
	return 0;
}
/* native_write_msr_safe(register, low, high): what is written to a limit holds. The write itself goes on to an emulated CPU that ignores it. */
static int on_write(struct kprobe *probe, struct pt_regs *regs)
{
	if ((u32)regs->di == REG_PACKAGE_LIMIT)
		WRITE_ONCE(limits[package_of(smp_processor_id())], (u64)(u32)regs->dx << 32 | (u32)regs->si);
	return 0;
}
NOKPROBE_SYMBOL(on_write);
NOKPROBE_SYMBOL(on_entry);
NOKPROBE_SYMBOL(on_safe_entry);
NOKPROBE_SYMBOL(on_return);

static struct kretprobe plain = {
	.kp.symbol_name = "native_read_msr",
	.entry_handler = on_entry,
	.handler = on_return,
	.data_size = sizeof(struct call),
	.maxactive = 64,
};
static struct kretprobe safe = {
	.kp.symbol_name = "native_read_msr_safe",
	.entry_handler = on_safe_entry,
	.handler = on_return,
	.data_size = sizeof(struct call),
	.maxactive = 64,
};
static struct kprobe written = {
	.symbol_name = "native_write_msr_safe",
	.pre_handler = on_write,
};
static struct kretprobe *probes[] = { &plain, &safe };

static int __init start(void)
{
	int cpu, error;

	if (get_cpu_idle_time_us(0, NULL) == (u64)-1)
		return -EOPNOTSUPP; /* no idle clocks: nothing could depend on which CPUs are busy */
	last_us = last_look_us = div_u64(ktime_get_mono_fast_ns(), NSEC_PER_USEC);
	for_each_possible_cpu(cpu)
		idle_us[cpu] = idle_clock_us(cpu);
	error = register_kretprobes(probes, ARRAY_SIZE(probes));
	if (error)
		return error;
	if (unlocked) {
		error = register_kprobe(&written);
		if (error) {
			unregister_kretprobes(probes, ARRAY_SIZE(probes));
			return error;
		}
	}
	pr_info("bayestuner_rapl: energy counters are synthetic from here on\n");
	return 0;
}

static void __exit stop(void)
{
	if (unlocked)
		unregister_kprobe(&written);
	unregister_kretprobes(probes, ARRAY_SIZE(probes));
	pr_info("bayestuner_rapl: gone; missed %d + %d reads\n", plain.nmissed, safe.nmissed);
}

module_init(start);
module_exit(stop);
MODULE_DESCRIPTION("synthetic RAPL counters for BayesTuner's guest tests");
MODULE_LICENSE("GPL");
