"""Vega-Lite specifications of the report's charts. Text and lines take the page's own colours, so that they follow its theme."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from bayestuner.report.page.content import KINDS, Axis
from bayestuner.report.page.model import Model

Spec = dict[str, Any]

FEW = 8
"""A knob with no more levels than this has a tick at each."""

BLUE, ORANGE = "#3b82c4", "#d9772b"
MARKS = {KINDS["default"]: "square", KINDS["search"]: "circle", KINDS["launch"]: "triangle-up"}
_KIND = {"field": "kind", "title": None, "scale": {"domain": list(MARKS), "range": list(MARKS.values())}}
CONFIG: Spec = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "domainColor": "currentColor",
        "tickColor": "currentColor",
        "gridColor": "currentColor",
        "gridOpacity": 0.12,
        "labelFontSize": 12,
        "titleFontSize": 13,
        "titleFontWeight": "normal",
    },
    "legend": {
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "symbolBaseFillColor": "currentColor",
        "symbolBaseStrokeColor": "currentColor",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "orient": "top",
        "layout": {"top": {"direction": "vertical"}},
    },
    "title": {"color": "currentColor", "fontSize": 14, "anchor": "start", "fontWeight": "normal"},
    "header": {"labelColor": "currentColor", "titleColor": "currentColor", "labelFontSize": 13},
}


def _chart(description: str, **rest: Any) -> Spec:
    shape = {"width": "container", "height": 320, "autosize": {"type": "fit-x", "contains": "padding"}}
    return {"description": description, "config": CONFIG, **shape, **rest}


def trade_off(points: Sequence[dict[str, Any]], bounds: Sequence[dict[str, Any]], objective: Axis, bound: Axis) -> Spec:
    """Objective against the bounded metric, one mark a run; the bound and what is recommended under it follow the page's slider."""
    limits = [*(p["v1"] for p in points), *(b["bound"] for b in bounds), *([] if bound.limit is None else [bound.limit])]
    x = _quantity("v1", bound.title) | {"scale": {"domain": [min(limits), max(limits)], "nice": True}}
    y = _quantity("v0", objective.title)
    start = bound.limit if bound.limit is not None else limits[0]
    runs = {
        "data": {"values": list(points)},
        "mark": {"type": "point", "size": 80, "filled": True, "opacity": 0.85},
        "encoding": {
            "x": x,
            "y": y,
            "shape": _KIND,
            "color": {"field": "meets", "title": None, "scale": {"domain": ["meets the goal", "misses a bound"], "range": [BLUE, ORANGE]}},
            "tooltip": [_tip("run", "run"), _tip("config", "configuration"), _tip("v0", objective.title), _tip("v1", bound.title)],
        },
    }
    line = {
        "data": {"values": [{}]},
        "transform": [{"calculate": "bound", "as": "v1"}],
        "mark": {"type": "rule", "color": "currentColor", "strokeDash": [6, 4]},
        "encoding": {"x": x},
    }
    ring = {
        "data": {"values": [{}]},
        "transform": [{"calculate": "pick_x", "as": "v1"}, {"calculate": "pick_y", "as": "v0"}],
        "mark": {
            "type": "point",
            "size": 420,
            "filled": False,
            "color": "currentColor",
            "strokeWidth": 2,
            "opacity": {"expr": "pick_shown"},
        },
        "encoding": {"x": x, "y": y},
    }
    parameters = [
        {"name": "bound", "value": start},
        {"name": "pick_x", "value": points[0]["v1"]},
        {"name": "pick_y", "value": points[0]["v0"]},
        {"name": "pick_shown", "value": 0},
    ]
    text = f"{objective.title} against {bound.title} of every measured run; the dashed line is the bound, the ring what is recommended"
    return _chart(text, params=parameters, layer=[runs, line, ring])


def runs_in_order(points: Sequence[dict[str, Any]], objective: Axis) -> Spec:
    """The objective of every measured run, for a goal without a bound on a metric."""
    encoding = {
        "x": {"field": "run", "type": "quantitative", "title": "run", "axis": {"tickMinStep": 1}},
        "y": _quantity("v0", objective.title),
        "shape": _KIND,
        "tooltip": [_tip("run", "run"), _tip("config", "configuration"), _tip("v0", objective.title)],
    }
    mark = {"type": "point", "size": 80, "filled": True, "color": BLUE}
    return _chart(f"{objective.title} of every measured run", data={"values": list(points)}, mark=mark, encoding=encoding)


def convergence(entries: Sequence[dict[str, Any]], objective: Axis) -> Spec:
    """The best objective so far among runs that met the goal, and each such run."""
    x = {"field": "run", "type": "quantitative", "title": "run of the search", "axis": {"tickMinStep": 1}}
    best = {
        "mark": {"type": "line", "interpolate": "step-after", "color": BLUE, "strokeWidth": 2},
        "encoding": {"x": x, "y": _quantity("best", objective.title)},
    }
    each = {
        "transform": [{"filter": "isValid(datum.value)"}],
        "mark": {"type": "point", "filled": True, "color": "currentColor", "opacity": 0.6},
        "encoding": {"x": x, "y": _quantity("value", objective.title), "tooltip": [_tip("run", "run"), _tip("value", objective.title)]},
    }
    text = f"the best {objective.title} so far of runs that met the goal (line), and each of these runs (dots)"
    return _chart(text, data={"values": list(entries)}, layer=[best, each], height=240)


def knob_slice(knob: str, metric: Axis, entries: Sequence[dict[str, Any]]) -> Spec:
    """What the model expects of a metric along one knob: the middle, the 95 % interval, and a dot at the recommendation."""
    numeric = all(isinstance(entry["value"], (int, float)) for entry in entries)
    x: Spec = {"field": "value", "type": "quantitative" if numeric else "nominal", "title": knob, "sort": None}
    if numeric:
        values = [entry["value"] for entry in entries]
        ticks: Spec = {"format": "~g", "values": values} if len(values) <= FEW else {"tickMinStep": min(b - a for a, b in pairwise(values))}
        x |= {"scale": {"zero": False, "nice": False}, "axis": ticks}
    band = {
        "mark": {"type": "area", "color": BLUE, "opacity": 0.25} if numeric else {"type": "rule", "color": BLUE, "strokeWidth": 3},
        "encoding": {"x": x, "y": _quantity("low", metric.title), "y2": {"field": "high"}},
    }
    tooltip = [_tip("value", knob), *(_tip(name, name) for name in ("mean", "low", "high"))]
    line = {
        "mark": {"type": "line" if numeric else "point", "color": BLUE, "strokeWidth": 2},
        "encoding": {"x": x, "y": _quantity("mean", metric.title), "tooltip": tooltip},
    }
    here = {
        "transform": [{"filter": "datum.here"}],
        "mark": {"type": "point", "filled": True, "size": 90, "color": "currentColor"},
        "encoding": {"x": x, "y": _quantity("mean", metric.title)},
    }
    text = f"what the model expects of {metric.title} along {knob}, all other knobs as recommended"
    return _chart(text, data={"values": list(entries)}, layer=[band, line, here], height=200)


def knob_map(model: Model, objective: Axis) -> Spec:
    """The expected objective over two knobs: darker is better, a cross misses the goal, a ring is the recommendation."""
    one, other = model.map_knobs
    x = {"field": "a", "type": "ordinal", "title": one, "axis": {"labelOverlap": True, "labelAngle": 0}}
    y = {"field": "b", "type": "ordinal", "title": other, "sort": "descending", "axis": {"labelOverlap": True}}
    tooltip = [_tip("a", one), _tip("b", other), _tip("value", objective.title), _tip("meets", "meets the goal")]
    cells = {
        "mark": {"type": "rect"},
        "encoding": {
            "x": x,
            "y": y,
            "color": {"field": "value", "type": "quantitative", "title": objective.title, "scale": {"scheme": "viridis"}},
            "tooltip": tooltip,
        },
    }
    misses = {
        "transform": [{"filter": "datum.meets == 'no'"}],
        "mark": {"type": "point", "shape": "cross", "size": 30, "color": "white", "opacity": 0.9, "filled": True},
        "encoding": {"x": x, "y": y},
    }
    here = {
        "transform": [{"filter": "datum.here"}],
        "mark": {"type": "point", "size": 260, "strokeWidth": 3, "filled": False, "color": "white"},
        "encoding": {"x": x, "y": y},
    }
    text = f"{objective.title} expected over {one} and {other}; crosses miss the goal by the model, the ring is the recommendation"
    return _chart(text, data={"values": model.map}, layer=[cells, misses, here], height=360)


def shares(model: Model) -> Spec:
    """How much of the objective's variance each knob accounts for."""
    encoding = {
        "y": {"field": "knob", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 220}},
        "x": {
            "field": "share",
            "type": "quantitative",
            "title": "share of the variance",
            "axis": {"format": "%"},
            "scale": {"domain": [0, 1]},
        },
        "tooltip": [_tip("knob", "knob"), {"field": "share", "title": "share", "format": ".0%"}],
    }
    height = 28 * max(len(model.shares), 2)
    mark = {"type": "bar", "color": BLUE, "height": 16}
    return _chart("each knob's share of the variance", data={"values": model.shares}, mark=mark, encoding=encoding, height=height)


def _quantity(field: str, title: str | None) -> Spec:
    return {"field": field, "type": "quantitative", "title": title, "scale": {"zero": False}}


def _tip(field: str, title: str) -> Spec:
    return {"field": field, "title": title or " "}
