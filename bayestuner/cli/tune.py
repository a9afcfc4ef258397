"""``bayestuner tune JOB.toml``."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from bayestuner.cli import exit_codes
from bayestuner.cli.arguments import positive_count, positive_number, seed

STRATEGIES = "bayes, random, exhaustive, annealing, batch_sizer, aimd, cherry_pick, spearmint or trade_off"
"""Those of `bayestuner.study.registry.strategy_names`, which would be slow to import for --help."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this subcommand."""
    parser = commands.add_parser(
        "tune",
        help="find the best configuration of a job",
        description="Runs a job's configurations, keeps every result in a study, recommends one. Started again, it goes on where it was.",
        epilog=exit_codes.HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("job", metavar="JOB.toml", type=Path)
    parser.add_argument("--study", metavar="PATH", type=Path, help="folder of the study (default: NAME.study here, NAME being the job's)")
    parser.add_argument(
        "--budget", metavar="N", type=positive_count, help="runs in all, the all-max one included (default: the job file's)"
    )
    parser.add_argument("--seed", metavar="S", type=seed, help="seed of the search (default: the job file's)")
    parser.add_argument("--strategy", metavar="NAME", help=f"{STRATEGIES} (default: bayes)")
    parser.add_argument("--preset", metavar="NAME", help="take this one of the job file's [goal.presets]")
    parser.add_argument("--max-minutes", metavar="M", type=positive_number, help="start no further search run after M minutes")
    parser.add_argument("--allow-affinity", action="store_true", help="go on without memory limits where no cgroup can be made")
    parser.add_argument("--wait", action="store_true", help="wait while another BayesTuner measures on this machine, instead of refusing")
    parser.add_argument(
        "--learn-from",
        metavar="PATH",
        nargs="*",
        type=Path,
        help="earlier studies that a new study learns from; with no PATH: from none (default: the job file's, else those beside it)",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON; progress goes to stderr")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Tune, show progress, print the result."""
    import sys

    from bayestuner.cli.progress import make_progress
    from bayestuner.cli.signals import Stopped
    from bayestuner.measure.job.parser import load_job
    from bayestuner.search.engine.stopping import WallClock
    from bayestuner.study.study import Study
    from bayestuner.tune import tune
    from bayestuner.tune.succession import place_of

    job = load_job(args.job)
    job = job if args.preset is None else job.with_preset(args.preset)
    asked = args.study if args.study is not None else Path(f"{job.name}.study")
    path = place_of(asked, job).path
    progress = make_progress(sys.stderr if args.json else sys.stdout)
    rules = [] if args.max_minutes is None else [WallClock(60.0 * args.max_minutes)]
    try:
        result = tune(
            job, study_path=asked, progress=progress, budget=args.budget, seed=args.seed, strategy=args.strategy,
            rules=rules, allow_affinity=args.allow_affinity, wait=args.wait, learn_from=args.learn_from,
        )  # fmt: skip
    except Stopped as stop:
        if Study.exists(path):
            with Study.open(path, read_only=True) as study:
                kept = sum(r.tell_seq is not None for r in study.records())
            stop.message = f"{stop.message}; {kept} finished runs are kept in {path}, go on with: {_resume_command(args)}"
        raise
    finally:
        progress.close()
    with Study.open(path, read_only=True) as study:
        records = study.records()
    if args.json:
        from bayestuner.cli.json_forms import emit, summary_form

        emit(summary_form(path, result.summary, records))
    else:
        from bayestuner.cli.progress import screen_width
        from bayestuner.report.result import result_text

        print("\n" + result_text(result.summary, path, records, width=screen_width(sys.stdout)))
    return exit_codes.of_summary(result.summary)


def _resume_command(args: argparse.Namespace) -> str:
    """The command with which the search is gone on with; the study itself keeps budget, seed and strategy."""
    words = ["bayestuner", "tune", str(args.job)]
    words += [word for name in ("study", "preset") if (value := getattr(args, name)) is not None for word in (f"--{name}", str(value))]
    words += [f"--{flag.replace('_', '-')}" for flag in ("allow_affinity", "wait", "json") if getattr(args, flag)]
    return shlex.join(words)
