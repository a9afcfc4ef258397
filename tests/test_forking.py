"""Forks: the child of a process with busy threads works on, with what it inherited and with what it makes anew."""

import os
import subprocess
import sys
import textwrap
import threading

import pytest

from bayestuner import forking

PRELUDE = """
import os, sys, time, threading
import bayestuner as bt

def in_child(work, seconds=60):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    deadline = time.monotonic() + seconds
    while (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            sys.exit("the child hung")
        time.sleep(0.002)
    if ended[1]:
        sys.exit(f"the child failed: {ended[1]}")

def search(tuner, runs):
    rows = []
    for _ in range(runs):
        trial = tuner.ask()
        rows.append(trial.row)
        tuner.tell(trial, p=1.0 + (trial.config["a"] - 3) ** 2 + trial.config["b"], t=float(trial.config["a"]))
    return rows

space = bt.Space(bt.Integer("a", 1, 8), bt.Integer("b", 1, 6))
goal = bt.Goal(minimize="p", subject_to=["t >= 2"])
"""


def run(program):
    command = [sys.executable, "-c", PRELUDE + textwrap.dedent(program)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("delay_s", [0.0, 0.05, 0.2])
def test_a_child_forked_during_the_warm_up_imports_and_searches(delay_s):
    run(f"""
    tuner = bt.Tuner(space, goal)
    trial = tuner.ask()  # the warm-up begins
    time.sleep({delay_s})

    def work():
        import numba
        import scipy.linalg
        search(bt.Tuner(space, goal), 6)
        tuner.tell(trial, p=1.0, t=2.0)
        search(tuner, 6)
    in_child(work)
    """)


def test_parent_and_child_go_on_alike():
    out = run("""
    tuner = bt.Tuner(space, goal)
    search(tuner, 5)
    def work():
        print(search(tuner, 4), flush=True)
    in_child(work)
    print(search(tuner, 4))
    """)
    child, parent = out.splitlines()
    assert child == parent


def test_a_child_scores_a_large_grid_on_threads_of_its_own():
    run("""
    large = bt.Space(*(bt.Integer(name, 1, 48) for name in "abc"))
    tuner = bt.Tuner(large, goal, threads=2)
    search(tuner, 4)
    assert threading.active_count() > 2  # this thread and two that score
    in_child(lambda: search(tuner, 2))
    """)


def test_a_fork_waits_for_a_tell_in_another_thread():
    run("""
    tuner = bt.Tuner(space, goal)
    search(tuner, 4)
    within, leave = threading.Event(), threading.Event()
    learn = tuner._learn
    def slow(trial):
        within.set()
        leave.wait()
        learn(trial)
    tuner._learn = slow
    trial = tuner.ask()
    teller = threading.Thread(target=tuner.tell, args=(trial,), kwargs={"p": 3.0, "t": 3.0})
    teller.start()
    within.wait()
    threading.Timer(0.05, leave.set).start()
    def work():
        tuner._learn = learn
        assert tuner.trials[trial.number].metrics == {"p": 3.0, "t": 3.0}
        search(tuner, 2)
    in_child(work)
    teller.join()
    """)


def test_a_fork_gives_up_waiting_for_a_lock_that_is_never_released(monkeypatch):
    monkeypatch.setattr(forking, "MAX_WAIT_S", 0.01)
    stuck = forking.ForkSafe()
    held, done = threading.Event(), threading.Event()

    def hold():
        with stuck._lock:
            held.set()
            done.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    try:
        pid = os.fork()
        if pid == 0:
            os._exit(0 if stuck._lock.acquire(timeout=1.0) else 1)  # a new one, which nobody holds
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        done.set()
        holder.join()
    assert stuck._lock.acquire(timeout=1.0)
    stuck._lock.release()


def test_what_is_gone_is_forgotten():
    before = len(forking._objects)
    thing = forking.ForkSafe()
    assert len(forking._objects) == before + 1
    del thing
    assert len(forking._objects) == before
