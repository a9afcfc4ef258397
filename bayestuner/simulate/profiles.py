"""The paper's eight jobs as profiles for the simulated server.

Each figure says whether it is counted, measured, published or assumed. What is assumed was chosen so that the constraint of Table 1 can be
met but not by every configuration, and so that the times of Table 2 come out.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from bayestuner.errors import InvalidSpace


@dataclass(frozen=True, slots=True)
class Profile:
    """One DNN inference job.

    Attributes
    ----------
    name, unit : str
        As in the zoo.
    gmac : float
        Billions of multiply-adds per item, counted in the zoo's graph.
    weights_mib : float
        Weights, which are read once per batch: the size of the zoo's file.
    memory_mib : tuple of float
        Memory that a run needs: the first number plus the second times the batch size. A line through the peaks that were measured of
        the zoo's nets in a cgroup, at batch sizes 1 and 32 (`zoo.registry`).
    activations_mib : float
        Data of one item between layers; what does not fit in the L3 cache is written to and read from DRAM. Half the slope of memory over
        batch size: roughly measured.
    efficiency : float
        Share of a core's AVX2 peak (32 flop a cycle) that the framework reaches while it computes. Assumed.
    stall : float
        Share by which computing takes longer on data that comes from DRAM; the cores are busy waiting meanwhile. Assumed.
    serial_s, batch_s : float
        Seconds that an item and a batch take on one core at 2.4 GHz, however many cores there are: decoding, feeding, dispatching.
        Assumed.
    grain : float
        Number of cores that one item keeps busy; a batch of b items keeps at most sqrt(b) times as many busy. Assumed.
    remote : float
        Speed of a core of the second socket as a share of one of the first, where weights and activations are stored. Assumed.
    startup_s : float
        Time from launch to ready. Assumed: the measured creation of a session, and the import of a framework.
    constraint : float
        Items per second that the paper's Table 1 demands.
    exhaustive_s : float
        Seconds that all 224 test runs took in the paper (Table 2). They determine how many items a test run has.
    """

    name: str
    unit: str
    gmac: float
    weights_mib: float
    memory_mib: tuple[float, float]
    activations_mib: float
    efficiency: float
    stall: float
    serial_s: float
    batch_s: float
    grain: float
    remote: float
    startup_s: float
    constraint: float
    exhaustive_s: float


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("deepspeech2", "audio", 7.76, 157.0, (211.0, 7.7), 4.0, 0.16, 0.5, 0.0180, 0.450, 2.5, 0.55, 4.0, 6.0, 8521.0),
        Profile("deepvs", "frame", 25.5, 319.0, (674.0, 74.0), 37.0, 0.28, 0.6, 0.0250, 0.080, 7.0, 0.60, 4.0, 4.0, 6181.0),
        Profile("text_cnn", "sentence", 0.019, 23.0, (70.0, 0.03), 0.1, 0.40, 0.5, 0.00005, 0.0012, 2.5, 0.50, 3.0, 5000.0, 4968.0),
        Profile("pnasnet5_large", "image", 24.9, 329.0, (1029.0, 104.0), 52.0, 0.30, 0.6, 0.0350, 0.120, 7.0, 0.60, 6.0, 4.0, 5520.0),
        Profile("nasnet_large", "image", 23.8, 339.0, (872.0, 94.0), 47.0, 0.20, 0.6, 0.0450, 0.140, 6.0, 0.60, 6.0, 3.0, 5249.0),
        Profile("inception_v3", "image", 5.71, 91.0, (232.0, 26.4), 13.0, 0.80, 2.5, 0.0270, 0.110, 4.8, 0.90, 4.0, 20.0, 4327.0),
        Profile("resnet_v2", "image", 3.48, 98.0, (265.0, 15.7), 8.0, 0.12, 0.8, 0.0180, 0.060, 5.0, 0.60, 4.0, 10.0, 3036.0),
        Profile("mobilenet_v2", "image", 0.301, 13.5, (59.0, 10.9), 5.5, 0.06, 0.6, 0.0065, 0.008, 3.0, 0.55, 3.0, 50.0, 2565.0),
    )
}


def profile(name: str) -> Profile:
    """The profile of that name; raises `InvalidSpace`, suggesting the nearest."""
    if name in PROFILES:
        return PROFILES[name]
    near = difflib.get_close_matches(name, PROFILES, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}?" if near else f"the names are {', '.join(PROFILES)}"
    raise InvalidSpace(f"there is no simulated job {name!r}; {hint}")
