"""Compile the engine for the guests' CPU, here, where that takes seconds: run with ENGINE_ENVIRONMENT and BAYESTUNER_CACHE set.

The guests find the machine code in the cache that they share with this machine. It holds code for one kind of CPU, so both must name the
same one, and it must be one that QEMU can emulate: no AVX-512.
"""

from __future__ import annotations

ENGINE_ENVIRONMENT = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma,-avx512f"}


def main() -> None:
    """Search a small grid once, which compiles whatever a search needs."""
    from llvmlite import binding

    binding.get_host_cpu_features = dict  # how wide the engine's vectors are goes by the CPU it runs on, not by the one it compiles for
    import bayestuner as bt
    from bayestuner.search.engine import warmup

    warmup.wait()
    space = bt.Space(bt.Integer("a", 1, 4), bt.Integer("b", 1, 4))
    tuner = bt.Tuner(space, bt.Goal(minimize="power_w", subject_to=["throughput >= 5"]), seed=0)
    for _ in range(12):
        trial = tuner.ask()
        if trial.row % 7 == 0:
            tuner.tell_failed(trial, "oom")
        else:
            a, b = trial.config["a"], trial.config["b"]
            tuner.tell(trial, power_w=bt.Reading(40.0 + 10 * a, 0.5), throughput=bt.Reading(2.0 * a + b, 0.1))
    tuner.recommend()


if __name__ == "__main__":
    main()
