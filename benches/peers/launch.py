#!/usr/bin/env python3
"""Runs one measured command and prints what it took as JSON: the process between the benchmark and the program it measures.

A child's peak memory can never be seen below that of the process that started it: the kernel carries the peak over an exec. The
benchmark holds manifests of whole trees, so it is not the one to start programs; this file imports next to nothing (about 9 MB).

The command comes as JSON on standard input: a list of steps run one after the other, each a pipeline:
  {"stages": [[word, …], …], "input": PATH or null, "output": PATH or null, "folder": PATH or null}
Standard error of everything, and the standard output of a last stage without "output", go to the file named by the only argument.
A step that fails ends the command; its status is the result's.
"""
import json
import os
import signal
import sys
import time

SAMPLE_SECONDS = 0.05


def start(step: dict, log: int) -> list[int]:
    """Starts the stages of a pipeline, each reading what the one before writes."""
    if step["folder"]:
        os.chdir(step["folder"])
    feed = os.open(step["input"] or os.devnull, os.O_RDONLY)
    children = []
    for position, words in enumerate(step["stages"]):
        following = None
        if position + 1 < len(step["stages"]):
            following, out = os.pipe()
        else:
            write = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            out = os.open(step["output"], write, 0o600) if step["output"] else os.dup(log)
        actions = [(os.POSIX_SPAWN_DUP2, feed, 0), (os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
        children.append(os.posix_spawnp(words[0], words, os.environ, file_actions=actions, setsigmask=[]))
        os.close(feed)
        os.close(out)
        feed = following
    return children


def family(pid: int) -> list[int]:
    """A process and all below it that are alive."""
    found = [pid]
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as listing:
                for child in listing.read().split():
                    found += family(int(child))
    except OSError:
        pass  # It ended while it was looked at.
    return found


def sample(children: list[int], peaks: dict[int, int]) -> None:
    """Notes the peak memory (KiB) so far of each process under the children."""
    for pid in [member for child in children for member in family(child)]:
        try:
            with open(f"/proc/{pid}/status") as status:
                for line in status:
                    if line.startswith("VmHWM:"):
                        peaks[pid] = max(peaks.get(pid, 0), int(line.split()[1]))
        except OSError:
            pass  # It ended while it was looked at.


def run_step(step: dict, log: int, result: dict) -> None:
    children = start(step, log)
    peaks: dict[int, int] = {}
    while children:
        sample(children, peaks)
        # Wakes at once when a child ends: waiting in slices would round every time up to a slice.
        signal.sigtimedwait([signal.SIGCHLD], SAMPLE_SECONDS)
        for child in list(children):
            pid, status, usage = os.wait4(child, os.WNOHANG)
            if pid:
                children.remove(child)
                result["cpu"] += usage.ru_utime + usage.ru_stime
                result["largest_kib"] = max(result["largest_kib"], usage.ru_maxrss)
                # Too short to be sampled.
                peaks.setdefault(pid, usage.ru_maxrss)
                result["status"] = result["status"] or os.waitstatus_to_exitcode(status)
    result["sum_kib"] = max(result["sum_kib"], sum(peaks.values()), result["largest_kib"])


def main() -> None:
    steps = json.load(sys.stdin)
    log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    result = {"wall": 0.0, "cpu": 0.0, "largest_kib": 0, "sum_kib": 0, "status": 0}
    started = time.monotonic()
    for step in steps:
        run_step(step, log, result)
        if result["status"]:
            break
    result["wall"] = time.monotonic() - started
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
