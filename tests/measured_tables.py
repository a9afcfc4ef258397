"""Small tables in the form that `measure-grid` writes, with made-up figures."""

import csv
import json

METRICS = ("estimated_power_w", "throughput", "cpu_s_per_item")
NAMES = ("cores", "memory_mib", "batch_size")


def row(cores, memory, batch, *, status="ok", throughput=20.0):
    """One run: its knobs' values and what came of it."""
    figures = {"estimated_power_w": 3.0, "throughput": throughput, "throughput_sd": 0.3, "cpu_s_per_item": 0.1}
    if status != "ok":
        return (cores, memory, batch), {"status": status, "duration_s": 0.5, "message": "killed for memory"}
    return (cores, memory, batch), {"status": "ok", **figures, "duration_s": 3.0}


def default_rows():
    """Eight runs of two cores, two limits and two batches; batch 8 needs 256 MiB."""
    rows = []
    for cores in (1, 2):
        for memory in (128, 256):
            for batch in (1, 8):
                throughput = (20.0 if batch == 8 else 15.0) * cores
                values, figures = row(cores, memory, batch, status="oom" if (memory, batch) == (128, 8) else "ok", throughput=throughput)
                if figures["status"] == "ok":
                    figures |= {"throughput": f"{throughput:g}", "cpu_s_per_item": 0.05 + 0.1 / batch + memory / 1e6}
                rows.append((values, figures))
    return rows


def write_table(folder, *, names=NAMES, rows=None, knobs=None):
    """Write t.csv and t.json; `knobs` is what a newer table says of its grid."""
    path = folder / "t.csv"
    head = [*names, "status", "estimated_power_w", "throughput", "throughput_sd", "cpu_s_per_item", "duration_s", "flags", "message"]
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, head, lineterminator="\n", restval="")
        writer.writeheader()
        for values, figures in rows if rows is not None else default_rows():
            writer.writerow({**dict(zip(names, values, strict=True)), **figures})
    about = {
        "version": 1,
        "knobs": list(names),
        "job": {"name": "net", "unit": "image"},
        "power": {"source": "model", "estimated": True, "boundary": "model"},
        "units": dict.fromkeys(METRICS, ""),
        "starts": [{"rows_before": 0, **({"knobs": knobs} if knobs else {})}],
    }
    path.with_suffix(".json").write_text(json.dumps(about))
    return path
