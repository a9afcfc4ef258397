"""The simulated server's power has the shape that is known of two Xeon E5-2680 v4."""

import numpy as np
import pytest

from bayestuner.simulate.server import E5_2680_V4


def package(active, activity=1.0, other=0):
    a, x = np.array([float(active)]), np.array([float(activity)])
    ghz = E5_2680_V4.frequency_ghz(a, x)
    return float(ghz[0]), float(E5_2680_V4.package_w(a, x, ghz, np.array([float(other)]))[0])


@pytest.mark.parametrize(("active", "ghz"), [(1, 3.3), (2, 3.3), (3, 3.1), (4, 3.0), (5, 2.9)])
def test_few_active_cores_run_at_the_turbo_table_s_frequency(active, ghz):
    assert package(active)[0] == pytest.approx(ghz)


def test_the_long_term_limit_holds_a_full_package_at_its_thermal_design_power():
    ghz, power_w = package(14)
    assert ghz == pytest.approx(2.5, abs=0.05)  # below the turbo table's 2.9
    assert power_w == pytest.approx(120.0)


def test_below_the_limit_more_cores_draw_more():
    powers = [package(n)[1] for n in range(15)]
    assert np.diff(powers).min() > -1e-9
    assert powers[1] - powers[0] > powers[3] - powers[2]  # the first core wakes what all of them share


def test_generic_code_draws_two_thirds_of_the_thermal_design_power():
    """As two E5-2620 v3 do (105 to 117 W of 170 W)."""
    assert package(14, 0.45)[1] / 120.0 == pytest.approx(0.65, abs=0.05)


def test_a_socket_with_nothing_to_do_draws_more_while_the_other_works():
    assert package(0)[1] == 12.0
    assert package(0, other=3)[1] == 15.0


def test_dram_draws_between_idle_and_streaming():
    watts = E5_2680_V4.dram_w(np.array([0.0, 76.8, 153.6, 1e3]))
    np.testing.assert_allclose(watts, [8.0, 17.6, 27.2, 27.2])
