"""What the meters are held to: the power that is injected into each domain, and how far off a window can be for its length."""

import pytest
from vm.injector import DRAM_W, PACKAGE_W

from bayestuner.measure.energy.select import MEASURED

INJECTED_W = {"package-0": PACKAGE_W[0], "dram-0": DRAM_W[0], "package-1": PACKAGE_W[1], "dram-1": DRAM_W[1]}
WINDOW_S = 1.5
BY_ITSELF_NS = 2_000_000  # counters step once per millisecond, at either end

every_meter = pytest.mark.parametrize("source", MEASURED)


def watts(meter, first, last):
    """Power of each domain and the most it may be off for the stamps' own uncertainty, as a share."""
    seconds = (last.stamp_ns - first.stamp_ns) / 1e9
    slack = (first.uncertainty_ns + last.uncertainty_ns + BY_ITSELF_NS) / (last.stamp_ns - first.stamp_ns)
    return {name: energy / seconds for name, energy in zip(meter.domains, meter.domain_energies_j(first, last), strict=True)}, slack


def assert_injected(meter, first, last, injected=INJECTED_W):
    measured, slack = watts(meter, first, last)
    assert slack < 0.02  # a guest that was stalled this long tells nothing
    assert measured.keys() == injected.keys()
    for name, power_w in measured.items():
        assert power_w == pytest.approx(injected[name], rel=0.01 + slack), (name, measured)
