"""The text of docs/job-file.md, made from the table that also checks job files; `python -m bayestuner.measure.job.reference` prints it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from bayestuner.measure.job.environment import INHERITED, OF_THE_CALLER
from bayestuner.measure.job.keys import REQUIRED, TYPES, Key
from bayestuner.measure.job.schema import KNOB_KINDS, SECTIONS
from bayestuner.measure.metrics import METRICS

_INTRO = """\
# The job file

<!-- Made by `python -m bayestuner.measure.job.reference > docs/job-file.md` from the table that also checks job files; don't edit. -->

A job file is TOML. It says what to run, what may be changed about it, what counts as good, and how much effort a search may take.
Every mistake in a file is reported at once, each with its key.

```toml
[job]
name = "mobilenet_v2"
command = ["{python}", "-m", "bayestuner.zoo", "mobilenet_v2", "--batch", "{batch_size}"]
unit = "image"

[knobs]
cores = { kind = "cores", min = 1, max = "all" }
memory_mib = { kind = "memory", min = 256, max = 2048, step = 256 }
batch_size = { kind = "argument", values = [1, 2, 4, 8, 16, 32] }

[goal]
minimize = "power_w"
subject_to = ["throughput >= 50"]

[measure]
budget = 20
```
"""

_PROTOCOL = """\
## How a job talks

The job learns its configuration from the placeholders in its command and from its environment: `BAYESTUNER_<KNOB>` for every knob
(`BAYESTUNER_BATCH_SIZE` for `batch_size`), `BAYESTUNER_CORES` (the number of CPUs it may use) and
`BAYESTUNER_MEMORY_BYTES` where memory is limited. `OMP_NUM_THREADS` is set to the number of CPUs too, unless `[job.env]` or a knob sets it.
Of the variables of the calling shell it gets INHERITED, every `LC_*`, and those that `env_keep` names: no others, which may hold secrets
(tokens, the SSH agent), and without which its run can be repeated from the job file. With `user` it doesn't get OF_THE_CALLER either, and
HOME, USER and LOGNAME are that user's.

It reports on the pipe whose descriptor is in `BAYESTUNER_FD`, one line of text each:

    ready <nanoseconds>                         once, when the model is loaded
    done <items> <nanoseconds> [<latency>]      after every batch
    value <metric> <number> <nanoseconds>       a value of a metric of the job's own, as often as there are values

Nanoseconds are those of CLOCK_MONOTONIC (`time.monotonic_ns()` in Python). Reports must not overtake each other in time. A job that
works on one batch after the other leaves the latency out: it is the time from one completion to the next. A server, or a job of several
workers, gives each batch's (or request's) own, in nanoseconds from its arrival to its completion. In Python:

```python
from bayestuner.measure.reporter import done, ready

batch = [0.1, 0.2, 0.3, 0.4]  # load the model here
ready()
for _ in range(1000):  # a real job goes on until it is stopped
    results = [x * x for x in batch]  # one batch of inference
    done(len(batch))
```

`value("accuracy", 0.76)` of the same module says a value of a metric of `[metrics]`. Outside BayesTuner all three do nothing. The job
should go on until it is stopped by SIGTERM; one that ends by itself with status 0 after enough batches is measured over those. A program
that runs to its end needs none of this, only the mode `to_completion`. A program that can't be changed is read with `throughput_regex`;
let it print line by line (`stdbuf -oL` helps where it doesn't).

Its numbers are read where there is one way to read them: a lone point is a decimal point, a lone comma a decimal comma (`12,5`) unless
three digits follow it, and of two different marks the last is the decimal mark (`1,234.5`, `1.234,5`). For a number that can be read in two
ways (`1,234`) say which with `decimal_mark`. A rate of 0 is a rate: its time counts. Once a number was found in one of the two streams, the
other is not searched for numbers, so a program that logs to both doesn't count twice. All searches of a run together may take 1 s of CPU
time and a tenth of the run; a pattern that needs more fails the run.

## Metrics

A goal may name these, the metrics of `[metrics]` and every knob whose values are numbers (the memory knob by its name, in its unit).

| metric | unit | what it is |
|---|---|---|
"""


def reference_markdown() -> str:
    """The text of docs/job-file.md."""
    parts = [_INTRO]
    for section, (about, keys) in SECTIONS.items():
        parts.append(f"## [{section}]\n\n{about}\n")
        if keys:
            parts.append(_key_table(keys))
        if section == "knobs":
            for kind, (what, kind_keys) in KNOB_KINDS.items():
                parts.append(f'### kind = "{kind}"\n\n{what}\n')
                if kind_keys:
                    parts.append(_key_table(kind_keys))
    rows = "".join(f"| `{name}` | {metric.unit} | {metric.meaning} |\n" for name, metric in METRICS.items())
    lists = {"INHERITED": INHERITED, "OF_THE_CALLER": OF_THE_CALLER}
    protocol = _PROTOCOL
    for word, names in lists.items():
        protocol = protocol.replace(word, ", ".join(f"`{name}`" for name in names))
    return "\n".join(parts) + "\n" + protocol + rows


def _key_table(keys: Iterable[Key]) -> str:
    lines = ["| key | value | default | unit | meaning |", "|---|---|---|---|---|"]
    for key in keys:
        lines.append(f"| `{key.name}` | {_value_words(key)} | {_default_words(key)} | {key.unit} | {key.description} |")
    return "\n".join(lines) + "\n"


def _value_words(key: Key) -> str:
    words = TYPES[key.type][0]
    if key.choices:
        words += " of " + ", ".join(f"`{c}`" for c in key.choices)
    if key.low is not None and (key.low > 0 or key.exclusive_low):
        words += f", {'> ' if key.exclusive_low else '>= '}{key.low:g}"
    if key.high is not None:
        words += f", <= {key.high:.12g}"
    return words


def _default_words(key: Key) -> str:
    if key.default is REQUIRED:
        return "**required**"
    return "" if key.default is None or key.default == {} else f"`{_toml(key.default)}`"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return f"{value:g}"


if __name__ == "__main__":
    sys.stdout.write(reference_markdown())
