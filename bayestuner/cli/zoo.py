"""``bayestuner zoo list | build NAME | run NAME --batch N``."""

from __future__ import annotations

import argparse

from bayestuner.cli import exit_codes


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this subcommand."""
    parser = commands.add_parser("zoo", help="the DNNs that come with BayesTuner", description="The DNNs that come with BayesTuner.")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="list the networks")
    listing.add_argument("--json", action="store_true", help="as JSON")
    listing.set_defaults(run=run_list)
    build = actions.add_parser("build", help="make a network's file and say where it is")
    build.add_argument("name", metavar="NAME")
    build.set_defaults(run=run_build)
    job = actions.add_parser("run", help="run a network as a job")
    job.add_argument("name", metavar="NAME")
    job.add_argument("options", metavar="...", nargs=argparse.REMAINDER, help="as of python -m bayestuner.zoo: --batch N, --seconds S, ...")
    job.set_defaults(run=run_job)


def run_list(args: argparse.Namespace) -> int:
    """Print the table of networks."""
    from bayestuner.zoo import registry

    models = [registry.describe(name) for name in registry.names()]
    if args.json:
        from bayestuner.cli.json_forms import VERSION, emit

        emit([{"version": VERSION, **model} for model in models])
        return exit_codes.OK
    from bayestuner.report.tables import plain_table

    header = ["name", "parameters", "GMAC per item", "unit", "items/s in the paper", "file", "memory at batch 1", "at batch 32"]
    rows = [
        [
            m["name"],
            f"{m['parameters']:,}",
            f"{m['gmac_per_item']:.3f}",
            m["unit"],
            "-" if m["paper_throughput"] is None else f"{m['paper_throughput']:g}",
            f"{m['file_bytes'] / 2**20:.1f} MiB" if m["file_bytes"] else "not built yet",
            *("-" if m[f"memory_mib_batch_{n}"] is None else f"{m[f'memory_mib_batch_{n}']} MiB" for n in (1, 32)),
        ]
        for m in models
    ]
    print(plain_table(header, rows, right=(1, 2, 4, 5, 6, 7)))
    return exit_codes.OK


def run_build(args: argparse.Namespace) -> int:
    """Build one network."""
    from bayestuner.zoo import registry

    print(registry.build(args.name))
    return exit_codes.OK


def run_job(args: argparse.Namespace) -> int:
    """Run one network in this process's place."""
    import os
    import sys

    from bayestuner.zoo import registry

    command = [sys.executable, "-P", "-m", "bayestuner.zoo", registry.spec(args.name).name, *args.options]
    sys.stdout.flush()
    os.execv(sys.executable, command)  # noqa: S606 - no shell is wanted
