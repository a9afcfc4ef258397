"""Run in a fresh environment with nothing but the wheel: the engine tunes, the extension loads, no extra is needed. Argument
--without-extension: expect that it could not be built."""

import sys

import bayestuner as bt

assert "site-packages" in bt.__file__, bt.__file__
assert "numba" not in sys.modules

space = bt.Space(bt.Integer("cores", 1, 8), bt.Ordinal("batch_size", [1, 2, 4, 8, 16]))
goal = bt.Goal(minimize="power_w", subject_to=["throughput >= 20"])


def evaluate(config):
    return {"power_w": 20 + 6 * config["cores"], "throughput": 6 * config["cores"] * config["batch_size"] / (config["batch_size"] + 2)}


result = bt.optimize(evaluate, space, goal, budget=15, seed=1)
lowest = min(evaluate(c)["power_w"] for c in space if evaluate(c)["throughput"] >= 20)
assert result.best is not None and result.best.metrics["power_w"] <= 1.3 * lowest, result

try:
    from bayestuner._native import lib
except ImportError:
    assert "--without-extension" in sys.argv, "the extension is missing"
else:
    assert "--without-extension" not in sys.argv, "the extension should not have been built"
    assert lib.bt_abi_version() >= 1
print("smoke test passed:", result.recommendation.config)
