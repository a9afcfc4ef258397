"""Starts tuners fast: a process that has imported everything once and forks one per order. What it forks runs the command line's own main.

Orders come as lines of JSON on standard input (arguments, file for output), answers go out as lines: the pid, then the exit status once
`wait` was ordered. `Forge` is the side that orders.
"""

import json
import os
import signal
import subprocess
import sys
import time

WAIT_S = 60.0


class Forge:
    """Makes tuners one after another."""

    def __enter__(self):
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "BAYESTUNER_DEBUG": "1"},
        )
        assert self.process.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(60)

    def start(self, args, output):
        """Start ``bayestuner *args`` with standard output and errors in a file; its pid."""
        return self._order({"args": list(map(str, args)), "output": str(output)})

    def wait(self):
        """Exit status of the latest; minus the signal's number where one killed it."""
        return self._order({"wait": True})

    def _order(self, order):
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


def serve():
    import bayestuner.cli.main
    import bayestuner.cli.progress
    import bayestuner.measure.cgroup.select
    import bayestuner.measure.energy.select
    import bayestuner.report.result
    import bayestuner.study.registry
    import bayestuner.tune

    # Python drops a signal that comes in between a fork and its own clean-up after it: let the kernel's default act until main takes over
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    print("ready", flush=True)
    pid = 0
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            print(wait_for(pid), flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            run(bayestuner.cli.main.main, order)
        print(pid, flush=True)


def wait_for(pid):
    """The exit status; a tuner that doesn't end within `WAIT_S` is killed, and its status is that of SIGKILL."""
    deadline = time.monotonic() + WAIT_S
    while (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0):
        time.sleep(0.005)
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            ended = os.waitpid(pid, 0)
            break
    return os.waitstatus_to_exitcode(ended[1])


def run(main, order):
    """In the child: become a tuner."""
    code = 70
    try:
        fd = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (fd, 1), (fd, 2)):
            os.dup2(source, target)
        code = main(order["args"])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
