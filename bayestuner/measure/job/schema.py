"""The keys of a job file, in one table: files are checked against it (`keys`), and docs/job-file.md is made from it (`reference`)."""

from __future__ import annotations

from collections.abc import Mapping

from bayestuner.measure.job.keys import Key

HOUR_S, DAY_S = 3600, 86_400
"""Times above these are slips: a search of which one run, or one wait, takes so long is no search."""

JOB_KEYS = (
    Key("name", "text", "What the job is called in results; by default the file's name without its ending.", None),
    Key(
        "command",
        "texts",
        "The program and its arguments, run without a shell. `{knob}` stands for a knob's value, `{python}` for the Python that runs "
        "BayesTuner, `{{word}}` for a literal `{word}`. A program with a slash in its name is looked for from the job file's folder, any "
        "other on PATH. `{python}` with `-m` or `-c` gets `-P` as well: it looks for modules in the job's folder only where PYTHONPATH in "
        "env says so.",
    ),
    Key("unit", "text", "What one item is, for people: image, sentence, frame.", "item"),
    Key(
        "mode",
        "text",
        "`batches`: the job reports batch after batch until it is stopped, and a run is a window of that. `to_completion`: a run is an "
        "execution from start to exit, made again until its figures are precise enough ([measuring](measuring.md)).",
        "batches",
        choices=("batches", "to_completion"),
    ),
    Key("cwd", "text", "Folder the job runs in, from the job file's folder; by default that folder itself.", "."),
    Key(
        "user",
        "text",
        "Name of the user the job runs as; by default the one who runs BayesTuner. Only root may name another. The job then has no "
        "capability and can't gain any; its HOME, USER and LOGNAME are that user's, who must be able to read the program and enter cwd.",
        None,
    ),
    Key("env", "text table", "Environment variables set for the job, over those it gets anyway ([how a job talks](#how-a-job-talks)).", {}),
    Key(
        "env_keep",
        "texts",
        "Names of further variables that the job gets as they are where BayesTuner is started: `CUDA_VISIBLE_DEVICES`, a proxy, a token. "
        "No other variable of the calling shell reaches it but those named below.",
        [],
    ),
    Key(
        "throughput_regex",
        "pattern",
        "For a program that can't report on the pipe: searched in each line of its standard output and standard error (the first 4096 "
        "bytes; a carriage return ends a line too). The group `items` (or the only group) is the number of items done since the line "
        "before; the group `rate` is items per second since then. Latencies aren't known then. With mode `to_completion` it is `items` "
        "alone, and what its lines say is added up; for a rate that the program prints write a metric.",
        None,
    ),
    Key(
        "decimal_mark",
        "text",
        "With throughput_regex or a metric's regex: what stands before a fraction in the program's numbers. By default each number tells "
        "(`12.5`, `12,5`, `1,234.5`), and a run fails whose output says one that can be read in two ways, such as `1,234`.",
        None,
        choices=(".", ","),
    ),
    Key(
        "ready_regex",
        "pattern",
        "With throughput_regex: the line of output that says the model is loaded; by default the first in which throughput_regex finds a "
        "number above 0. With mode `to_completion` also alone; by default an execution counts from its start.",
        None,
    ),
)

METRIC_KEYS = (
    Key("unit", "text", "Its unit, as people read it: FPS, ms, tokens/s. Values are shown in it as they are.", ""),
    Key("about", "text", "One line of words about it, for tables and reports.", ""),
    Key(
        "regex",
        "pattern",
        "It is searched in each line of standard output and standard error (the first 4096 bytes); its group `value`, or its only group, "
        "is the number.",
        None,
    ),
    Key(
        "json",
        "text",
        "Dotted path of a number, or of a list of numbers, in a JSON object: `results.0.p99`. The object is the whole of `file`, or else "
        "each line of standard output that is an object, or else the last object printed there.",
        None,
    ),
    Key("csv", "text", "The column of the CSV file `file`; each of its rows is a value.", None),
    Key(
        "file",
        "text",
        "With json or csv: a file that the job writes, from the folder it runs in. One that it didn't write in this run fails the run.",
        None,
    ),
    Key("scale", "number", "What every value is multiplied by to bring it to the unit.", 1.0, low=0, exclusive_low=True),
    Key(
        "combine",
        "text",
        "How several values of one run, or of one execution, become one.",
        "mean",
        choices=("last", "mean", "median", "p90", "p99", "max", "sum"),
    ),
)

ONE_GOAL_KEYS = (
    Key("minimize", "text", "The metric to make small. Exactly one of minimize and maximize.", None),
    Key("maximize", "text", "The metric to make large.", None),
    Key(
        "subject_to",
        "texts",
        "Bounds that must hold, as `metric >= number` or `metric <= number`. `throughput >= 60%` is 60 % of what the all-max "
        "configuration reaches, which is then measured first. Bounds that no run can meet are refused: contradictory ones, `power_w <= 0`, "
        "a knob outside of its values; so is `>= 500%` and more, taken for a slip.",
        [],
    ),
    Key(
        "margin",
        "number",
        "What every bound on a measured metric is tightened by, as a share of it, to deploy with something to spare: with 0.05 "
        "`throughput >= 50` becomes `throughput >= 52.5`.",
        0.0,
        "1",
        low=0,
        high=0.5,
    ),
)

GOAL_KEYS = (
    *ONE_GOAL_KEYS,
    Key(
        "presets",
        "tables",
        "Other goals by name: `[goal.presets.paper]` holds the keys that differ from this section's. `bayestuner tune --preset paper` "
        "takes one.",
        {},
    ),
    Key("preset", "text", "The preset that holds where the command line names none; `default` is this section itself.", "default"),
)

MEASURE_KEYS = (
    Key("budget", "integer", "How many test runs the search may take.", 20, "runs", low=1, high=1_000_000),
    Key(
        "stop",
        "texts",
        "Conditions that end the search before its budget; the first that holds does. `expected_improvement < 10%`: no configuration left "
        "is expected to improve on the best one by that much of its objective. `regret < 1%`: with a probability of 90 % the best one is "
        "that close to the best there is. Both go by the model, so they need the strategy bayes, at least 6 measured runs and one that met "
        "the goal. `time > 2h` (or `s`, `min`): no run of the search starts later than that after `bayestuner tune` did.",
        [],
    ),
    Key(
        "learn_from",
        "texts",
        "Folders of earlier studies to learn from, as globs (`results/*.study`) relative to the job file; `[]`: none. By default "
        "those beside the new study that have the same knobs and belong to the same user. "
        "The search weighs them by how well they predict this job ([engine](engine.md)).",
        None,
    ),
    Key("min_seconds", "number", "Shortest measuring window.", 5.0, "s", low=0, exclusive_low=True, high=DAY_S),
    Key(
        "max_seconds",
        "number",
        "Longest window, or longest time for the executions of a run; a run that isn't tight by then is flagged.",
        30.0,
        "s",
        low=0,
        exclusive_low=True,
        high=DAY_S,
    ),
    Key(
        "relative_error",
        "number",
        "A window ends once the 95 % confidence interval of the throughput is no wider than this share of it, to either side. With mode "
        "`to_completion` executions end once that holds for the mean of every metric of the goal.",
        0.02,
        "1",
        low=0,
        exclusive_low=True,
        high=1,
    ),
    Key(
        "min_executions",
        "integer",
        "With mode `to_completion`: least executions of a run. 1: one alone, whose noise only other runs can show.",
        2,
        low=1,
        high=1000,
    ),
    Key(
        "execution_timeout_s",
        "number",
        "With mode `to_completion`: how long one execution may take; one that takes longer fails as `timeout`.",
        600.0,
        "s",
        low=0,
        exclusive_low=True,
        high=DAY_S,
    ),
    Key(
        "startup_timeout_s",
        "number",
        "How long the job may take from its start until it is ready.",
        60.0,
        "s",
        low=0,
        exclusive_low=True,
        high=DAY_S,
    ),
    Key(
        "warmup_seconds",
        "number",
        "Shortest warm-up from ready on. By default none where no power is measured; with a real meter 5 s, or the averaging window of the "
        "processor's long-term power limit (PL1) where that is longer, up to 30 s.",
        None,
        "s",
        low=0,
        high=HOUR_S,
    ),
    Key(
        "idle_seconds",
        "number",
        "How long the idle machine's power is measured, at the start, with every reference and at the end; only with a real meter. 0 "
        "leaves it out.",
        10.0,
        "s",
        low=0,
        high=HOUR_S,
    ),
    Key(
        "cooldown_seconds",
        "number",
        "Longest wait before a run until the processor is within 3 degrees of its temperature at the start; none without a sensor.",
        15.0,
        "s",
        low=0,
        high=HOUR_S,
    ),
    Key(
        "retries",
        "integer",
        "How often a run is made again that was disturbed from outside (contended, stolen, swapped, throttled); both are kept.",
        1,
        "runs",
        low=0,
        high=5,
    ),
    Key(
        "max_outside_load",
        "number",
        "Share of the machine's CPU time that others may use. Where it was more in each of the first three runs, their figures say little: "
        "`tune` and `measure-grid` end with exit code 5, and what was measured is kept. 1: never, and the second in which the machine is "
        "watched before the first run is saved.",
        0.75,
        low=0,
        high=1,
    ),
    Key(
        "reference_every",
        "integer",
        "The all-max configuration is measured again after every so many runs, to see whether the machine drifts. It costs a run of the "
        "budget each time, and is left out where fewer runs than that are still to come: the repeats at the end show drift then. "
        "None in an exhaustive search; 0 never.",
        10,
        "runs",
        low=0,
        high=1_000_000,
    ),
    Key(
        "energy",
        "texts",
        "Energy meters to try, in this order; the first that works is used. `model` is an estimate and no measurement: list it to accept "
        "one where there is no meter. A platform's meter (`gpu.board`) is no alternative: it is read as well and added. An empty list "
        "measures no power.",
        ["perf", "powercap", "msr"],
        choices=("perf", "powercap", "msr", "model"),
        allow_dotted=True,
    ),
    Key(
        "energy_hz",
        "number",
        "How often the meter is read. 10 is enough for every counter; 100 or 1000 show what power does within a run, at more cost to it.",
        10,
        "readings a second",
        low=1,
        high=1000,
    ),
    Key(
        "platforms",
        "texts",
        "Platforms beside the machine itself ([platforms](platforms.md)): names that installed packages offer, or `module:attribute`. "
        "Their knobs are kinds called `platform.knob`, with the keys of kind argument; their meters stand in `energy` as `platform.meter`.",
        [],
    ),
    Key(
        "isolation",
        "text",
        "`cgroup`: real limits or no run. `affinity-allowed`: where no cgroup can be made, bind the job to its cores and leave memory "
        "unlimited; results say so, and a goal about memory is refused.",
        "cgroup",
        choices=("cgroup", "affinity-allowed"),
    ),
    Key(
        "placement",
        "text",
        "Which cores a request gets. `compact`: one package after the other, within it NUMA node by node and L3 by L3, so that a second "
        "package stays asleep as long as it can. `spread`: packages, nodes and L3 caches in turn, for their caches and memory channels.",
        "compact",
        choices=("compact", "spread"),
    ),
    Key(
        "smt",
        "text",
        "Second threads of a physical core: `last`, once every core is in use, or `never`. A knob of kind smt decides instead.",
        "last",
        choices=("last", "never"),
    ),
    Key(
        "housekeeping_cores",
        "number or auto",
        "Physical cores, with all their threads, that are kept free of a job whose cores are limited, for BayesTuner and the rest of the "
        'system; `max = "all"` doesn\'t count them. `auto` is 1 where more than 4 may be used, else 0; 0 gives the job every core.',
        "auto",
        "cores",
        low=0,
        high=65535,
    ),
    Key(
        "repeats",
        "integer",
        "Least final launches of the recommended and of the all-max configuration, in rounds ([how it is decided](decision.md)). 0 makes "
        "none: the recommendation is then the search's own reading.",
        3,
        "runs",
        low=0,
        high=1000,
    ),
    Key(
        "launches",
        "integer",
        "Most final launches in all, of every candidate and the all-max configuration; by default eight times repeats.",
        None,
        "runs",
        low=2,
        high=100_000,
    ),
    Key(
        "confidence",
        "number",
        "How surely a configuration must be better than the all-max one, all candidates and looks counted, and hold the bounds, to be "
        "recommended in its place.",
        0.95,
        "1",
        low=0.5,
        high=0.999,
    ),
    Key(
        "memory_headroom",
        "number",
        "Share of the measured memory peak (page cache included) that a recommended memory limit must leave free above it. Without it "
        "no limit is refused, and of configurations that are as good the least memory is taken that leaves 10 %.",
        0.0,
        "1",
        low=0,
        high=100,
    ),
    Key("seed", "integer", "Same seed and same results give the same search.", 0, low=0, high=2**32 - 1),
)

_RANGE = "Either min and max (and step), or values."
_CORE_KEYS = (
    Key("min", "integer", f"Fewest cores. {_RANGE}", None, "cores", low=1),
    Key(
        "max",
        "number or all",
        "Most cores; `all` is every CPU this process may use, without `measure.housekeeping_cores`, and no more than the whole CPUs of a "
        "CPU quota (`docker run --cpus`).",
        None,
        "cores",
        low=1,
    ),
    Key("step", "integer", "Distance between neighbours.", 1, "cores", low=1),
    Key("values", "values", "The numbers of cores, in rising order.", None, "cores"),
)
_MEMORY_KEYS = (
    Key("min", "integer", f"Smallest limit. {_RANGE}", None, "as named", low=1),
    Key("max", "integer", "Largest limit; no more than this machine, or the cgroup BayesTuner runs in, has.", None, "as named", low=1),
    Key("step", "integer", "Distance between neighbours.", 1, "as named", low=1),
    Key("values", "values", "The limits, in rising order.", None, "as named"),
)
_VALUE_KEYS = (
    Key("min", "number", f"Smallest value. {_RANGE}", None),
    Key("max", "number", "Largest value.", None),
    Key("step", "number", "Distance between neighbours; required with a fractional min or max.", 1, low=0, exclusive_low=True),
    Key("values", "values", "The values: numbers, texts or booleans.", None),
    Key(
        "ordered",
        "boolean",
        "Whether neighbours in the list are alike; by default true for numbers, false for texts and booleans.",
        None,
    ),
)
_SETTING_KEYS = (
    Key("min", "number", f"Lowest value. {_RANGE}", None, "as named", low=0, exclusive_low=True),
    Key("max", "number", "Highest value.", None, "as named", low=0, exclusive_low=True),
    Key("step", "number", "Distance between neighbours; required with a fractional min or max.", 1, "as named", low=0, exclusive_low=True),
    Key("values", "values", "The values, in rising order.", None, "as named"),
)
_VARIABLE_KEY = Key("variable", "text", "Name of the environment variable that carries the value.")

KNOB_KINDS: Mapping[str, tuple[str, tuple[Key, ...]]] = {
    "cores": (
        "How many CPU cores the job may use: a cpuset of that many, the larger always holding the smaller. One at most.",
        _CORE_KEYS,
    ),
    "memory": (
        "The job's memory limit, without swap; the knob's name ends in its unit: `memory_mib`, `memory_gib`, `memory_kib` or "
        "`memory_bytes`. One at most.",
        _MEMORY_KEYS,
    ),
    "smt": (
        "Whether the job gets both threads of its physical cores: false, then true. The cores knob then counts physical cores. It works by "
        "the choice of CPUs; the machine's SMT switch isn't touched. One at most, and only where this process may use second threads.",
        (),
    ),
    "cpu_frequency": (
        "The highest clock of the job's CPUs; the knob's name ends in its unit: `ceiling_mhz`, `ceiling_ghz` or `ceiling_khz`. Set through "
        "cpufreq for each run and put back after it (see [platforms](platforms.md)); needs root or write access, and real hardware.",
        _SETTING_KEYS,
    ),
    "power_cap": (
        "The long-term RAPL power limit of every package; the knob's name ends in its unit: `cap_w` or `cap_mw`. Set through powercap "
        "for each run and put back after it; needs root or write access, and real hardware.",
        _SETTING_KEYS,
    ),
    "argument": ("A value that the command takes: `{name}` must stand in it.", _VALUE_KEYS),
    "environment": ("A value that the job reads from an environment variable.", (_VARIABLE_KEY, *_VALUE_KEYS)),
}

SECTIONS: Mapping[str, tuple[str, tuple[Key, ...]]] = {
    "job": ("What is run.", JOB_KEYS),
    "knobs": ("What may be changed: one table per knob, `name = { kind = ..., ... }`; the name is yours.", ()),
    "metrics": (
        "Metrics of the job's own: one table per metric, `name = { unit = ..., ... }`. Its values come from one place: `regex`, `json` or "
        "`csv`; with none of them from the report pipe, as lines `value name number`.",
        METRIC_KEYS,
    ),
    "goal": ("What a good configuration is.", GOAL_KEYS),
    "measure": ("How much effort a test run and the search may take.", MEASURE_KEYS),
}
