"""The report as one page of HTML that needs no network."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from typing import Any

from bayestuner._version import __version__
from bayestuner.errors import MissingExtra
from bayestuner.foreign_text import harmless
from bayestuner.report.page import charts, content, model
from bayestuner.study.study import Study
from bayestuner.study.summary import summarise

VEGA_LITE = "6.4"
"""The version that the charts are written for."""


def report_html(study: Study) -> str:
    """A study as a page: finished, still running, failed or empty.

    Raises
    ------
    MissingExtra
        Jinja2 or vl-convert-python, which brings Vega-Lite, is not installed.
    """
    try:
        import jinja2
        import vl_convert  # noqa: F401
    except ImportError as error:
        raise MissingExtra(f"a report needs {error.name}: pip install 'bayestuner[report]'") from error

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    parts = files(__package__)
    template = environment.from_string(parts.joinpath("page.html").read_text(encoding="utf-8"))
    return template.render(
        **page_of(study),
        version=__version__,
        style=parts.joinpath("page.css").read_text(encoding="utf-8"),
        script=parts.joinpath("page.js").read_text(encoding="utf-8"),
        vega=_vega(),
    )


@cache
def _vega() -> str:
    """Vega-Lite and what it needs, as one script."""
    import vl_convert

    script: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE)
    return script


def page_of(study: Study) -> dict[str, Any]:
    """Everything that the template shows; text of strangers made harmless."""
    shown = _harmless(_page_of(study))
    data = {name: shown[name] for name in ("charts", "bounds")}
    return {**shown, "data": content.as_script(json.dumps(data, allow_nan=False))}


def _harmless(value: Any) -> Any:
    """The same with every text in it made harmless, at any depth."""
    if isinstance(value, str):
        return harmless(value)
    if isinstance(value, dict):
        return {_harmless(key): _harmless(inner) for key, inner in value.items()}
    return [_harmless(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _page_of(study: Study) -> dict[str, Any]:
    summary, records = summarise(study), study.records()
    goal = summary.judged_goal or summary.search_goal
    objective = content.axis_of(summary.goal.objective, summary, goal)
    bounded = next((b.metric for b in summary.goal.bounds), None)
    bound = None if bounded is None else content.axis_of(bounded, summary, goal)
    axes = [objective] if bound is None else [objective, bound]
    points = content.points(study, goal, records, axes)
    found = model.model_of(study, summary, goal, axes) if points and goal is not None else None
    specs: dict[str, charts.Spec] = {}
    if points:
        bounds = [] if found is None else found.bounds
        specs["runs"] = charts.runs_in_order(points, objective) if bound is None else charts.trade_off(points, bounds, objective, bound)
    course = content.convergence(study, goal, records, objective)
    if course:
        specs["convergence"] = charts.convergence(course, objective)
    if found is not None:
        specs |= {f"slice-{i}": charts.knob_slice(*slice_) for i, slice_ in enumerate(found.slices)}
        if found.map:
            specs["map"] = charts.knob_map(found, objective)
        if found.shares:
            specs["shares"] = charts.shares(found)
    bounds = [] if found is None else found.bounds
    return {
        "words": asdict(content.words(summary, study.folder, records)),
        "finished": summary.complete,
        "runs": asdict(content.runs_table(study, summary, records)),
        "charts": specs,
        "model_at": None if found is None else ", ".join(f"{k}={v}" for k, v in found.at.items()),
        "bound_title": "" if bound is None else bound.title,
        "bounds": bounds,
        "start": next((i for i, entry in enumerate(bounds) if entry["given"]), 0),
        "provenance": content.provenance(study),
    }
