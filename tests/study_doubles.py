"""What the study's tests share: a small space, a goal, and an obvious stand-in for a run."""

from bayestuner.goal import Goal
from bayestuner.space import Integer, Ordinal, Space
from bayestuner.trial import Failed, Measured, Outcome, Reading


def small_space() -> Space:
    return Space(Integer("cores", 1, 4), Ordinal("memory_mib", [128, 256, 512]), Ordinal("batch_size", [1, 2, 4, 8]))


def small_goal() -> Goal:
    return Goal(minimize="power_w", subject_to=["throughput >= 20"])


def pretend_run(config) -> Outcome:
    """A double of a test run: power grows with cores, throughput with cores and batch, too little memory kills."""
    if config["batch_size"] * 32 > config["memory_mib"]:
        return Failed("oom", "killed for memory")
    throughput = 8.0 * config["cores"] * config["batch_size"] ** 0.5
    return Measured({"power_w": Reading(20.0 + 7.5 * config["cores"], 0.2), "throughput": Reading(throughput, 0.1)})
