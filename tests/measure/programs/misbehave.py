"""Real jobs that do what no job should. Usage: misbehave.py WHAT PIDFILE; every process writes its pid to the file."""

import os
import signal
import sys
import time
from pathlib import Path

from bayestuner.measure.reporter import done, ready

what, pid_file = sys.argv[1:3]
FD = int(os.environ.get("BAYESTUNER_FD", "-1"))


def note():
    with Path(pid_file).open("a") as file:
        file.write(f"{os.getpid()}\n")


def raw(text):
    os.write(FD, text.encode())


def work(batches=-1):
    ready()
    while batches:
        time.sleep(0.01)
        done(4)
        batches -= 1


note()
if what == "silent":
    time.sleep(600)
elif what == "hangs":
    ready()
    time.sleep(600)
elif what == "slow":
    ready()
    for _ in range(2):
        time.sleep(0.2)
        done(4)
    time.sleep(600)
elif what == "exits":
    print("no model here", file=sys.stderr)
    sys.exit(3)
elif what == "exits0":
    print("bye")
elif what == "segfaults":
    work(3)
    os.kill(os.getpid(), signal.SIGSEGV)
elif what == "stops":
    ready()
    os.kill(os.getpid(), signal.SIGSTOP)
elif what == "ignores_term":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    work()
elif what == "children":
    for _ in range(5):
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.setsid()
            note()
            time.sleep(600)
    work()
elif what == "daemon":
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            note()
            work()
        os._exit(0)
    os.wait()
elif what == "closes":
    work(5)
    os.close(FD)
    time.sleep(600)
elif what == "closes_at_once":
    os.close(FD)
    time.sleep(600)
elif what == "garbage":
    while True:
        raw("no idea what this is\n")
        time.sleep(0.01)
elif what == "some_garbage":
    ready()
    while True:
        time.sleep(0.01)
        raw("oops\n")
        done(4)
elif what == "one_bad_line":
    ready()
    raw("oops\n")
    work_done = 0
    while True:
        time.sleep(0.01)
        done(4)
elif what == "halves":
    raw(f"ready {time.monotonic_ns()}\n")
    while True:
        raw("do")
        time.sleep(0.005)
        raw(f"ne 4 {time.monotonic_ns()}\n")
elif what == "backwards":
    ready()
    then = time.monotonic_ns()
    while True:
        time.sleep(0.01)
        then -= 1000
        raw(f"done 4 {then}\n")
elif what == "items":
    ready()
    for items in ("0", "-3", "1e300", "nan"):
        raw(f"done {items} {time.monotonic_ns()}\n")
    time.sleep(600)
elif what == "floods":
    chunk = b"x" * 99 + b"\n"
    block = chunk * 10000
    for _ in range(100):  # 100 MB
        os.write(1, block[: len(block) // 2])
        os.write(2, block[len(block) // 2 :])
    print("flood over", flush=True)
    work()
elif what == "forks":
    ready()
    while True:
        try:
            if os.fork() == 0:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                time.sleep(600)
        except OSError:  # the limit: try again, for ever
            time.sleep(0.01)
            done(1)
elif what == "floods_reports":
    ready()
    while True:  # as fast as the pipe takes it
        raw(f"done 1 {time.monotonic_ns()}\n" * 100)
elif what == "floods_reports_with_garbage":
    ready()
    block = "x" * 60_000
    while True:
        raw(block)  # never a newline
elif what == "ends":
    work(60)
else:
    raise SystemExit(f"unknown: {what}")
