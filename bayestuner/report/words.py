"""Numbers, metrics and configurations in words; one place, so that every table says a thing the same way."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

from bayestuner.foreign_text import harmless
from bayestuner.measure.metrics import METRICS, POWER_METRICS
from bayestuner.study.figures import Figure


class Units(Protocol):
    """What names the units of a job's figures, such as a `Job` or a `Summary`."""

    @property
    def unit(self) -> str:
        """What one item is."""

    @property
    def metric_units(self) -> Mapping[str, str]:
        """Unit of each metric of the job's own."""


def label(metric: str, units: Units, *, estimated: bool) -> str:
    """What a metric is called in a table; power from an estimate always says so."""
    text = METRICS[metric].label.format(unit=units.unit) if metric in METRICS else metric
    return f"{text} (estimated)" if estimated and metric in POWER_METRICS else text


def number(value: float) -> str:
    """Four significant figures, without an exponent where that is readable."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if 1e-3 <= abs(value) < 1e6:
        decimals = max(0, 3 - math.floor(math.log10(abs(value))))
        return f"{value:.{decimals}f}"
    return f"{value:.3e}"


def scaled(metric: str, units: Units) -> tuple[float, str]:
    """Factor and unit a metric is shown in; one of the job's own, a knob, or a metric of a simulation, is shown as it is."""
    known = METRICS.get(metric)
    if known is None:
        return 1.0, harmless(units.metric_units.get(metric, ""))
    return known.shown_factor, known.shown_unit.format(unit=units.unit)


def quantity(metric: str, value: float, units: Units) -> str:
    """A value with its unit."""
    factor, shown = scaled(metric, units)
    return f"{number(value * factor)} {shown}".strip()


def with_interval(metric: str, figure: Figure, units: Units) -> str:
    """A mean, the half width of its 95 % interval where it has one, and its unit."""
    factor, shown = scaled(metric, units)
    mean = number(figure.mean * factor)
    if figure.half_width is None:
        return f"{mean} {shown}".strip()
    decimals = len(mean.partition(".")[2])
    half = figure.half_width * factor
    return f"{mean} ± {half:.{decimals}f} {shown}".strip()


def config_text(config: Mapping[str, Any]) -> str:
    """A configuration on one line."""
    return "  ".join(harmless(f"{name}={value}") for name, value in config.items())


def duration(seconds: float) -> str:
    """A length of time for people."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def first_line(text: str, width: int = 100) -> str:
    """The first line of a message, shortened."""
    line = harmless(text.strip().split("\n")[0])
    return line if len(line) <= width else line[: width - 3] + "..."
