"""What is needed around a measured command: starting it, the place it works in, a warm cache, and who else used the machine."""
from __future__ import annotations

import json
import mmap
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from programs import Step

LAUNCHER = Path(__file__).with_name("launch.py")
TICKS = os.sysconf("SC_CLK_TCK")
# More than any measured command takes of memory and of the system's cache.
TOUCHED_KIB = 8 << 20
# Sparse: what is not used costs nothing. Inodes for what rsync keeps of the largest set (unchanged files are links) and the rest.
VOLUME_BYTES = 40 << 30
VOLUME_INODES = 600_000


@dataclass
class Taken:
    """What a command took."""

    wall: float
    cpu: float
    largest_mb: float
    sum_mb: float
    others_cpu: float
    status: int


def run(steps: list[Step], environment: dict[str, str], log: Path) -> Taken:
    """Runs a command when what was written before is on the disk, so that nobody pays for another's writing."""
    os.sync()
    touch_free_memory()
    before = busy_seconds()
    command = [sys.executable, "-I", "-S", str(LAUNCHER), str(log)]
    spoken = json.dumps([step.as_json() for step in steps])
    done = subprocess.run(command, input=spoken, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"the launcher failed: {command}")
    result = json.loads(done.stdout)
    others = max(0.0, busy_seconds() - before - result["cpu"])
    largest_mb, sum_mb = (result[name] * 1024 / 1e6 for name in ("largest_kib", "sum_kib"))
    return Taken(result["wall"], result["cpu"], largest_mb, sum_mb, others, result["status"])


def touch_free_memory() -> None:
    """Touches most of what is free and may be used, and gives it back: a virtual machine gives free memory back to its host, and whoever
    uses it next pays for every page, several times what the work itself takes. What was given back last is given out first."""
    with open("/proc/meminfo") as meminfo:
        free_kib = next(int(line.split()[1]) for line in meminfo if line.startswith("MemFree:"))
    touched_kib = min(free_kib // 10 * 7, TOUCHED_KIB)
    mmap.mmap(-1, touched_kib * 1024 // mmap.PAGESIZE * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE).close()


def busy_seconds() -> float:
    """CPU seconds that all processes of the machine have used."""
    with open("/proc/stat") as stat:
        user, nice, system, _idle, _wait, irq, soft, steal = (int(field) for field in stat.readline().split()[1:9])
    return (user + nice + system + irq + soft + steal) / TICKS


def warm(source: Path) -> None:
    """Reads everything once: some programs tell the kernel to forget what they have read, and the next would read from the disk."""
    read = ["find", str(source), "-type", "f", "-exec", "cat", "{}", "+"]
    subprocess.run(read, stdout=subprocess.DEVNULL, check=True)


def drop_cache() -> None:
    """Leaves nothing in the system's cache: neither content, nor what it knows of files."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3\n")


def size_bytes(folder: Path) -> int:
    """The bytes of all files below a folder, a file with several names once."""
    seen, total = set(), 0
    for parent, _, names in os.walk(folder):
        for name in names:
            status = os.lstat(os.path.join(parent, name))
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                total += status.st_size
    return total


class Volume:
    """An empty folder for the files of a run. With `fresh` a new ext4 of its own, since ext4 is slow for a while where much was deleted."""

    def __init__(self, path: Path, fresh: bool):
        self.path, self.image = path, path.with_suffix(".ext4") if fresh else None

    def __enter__(self) -> Path:
        self.path.mkdir(parents=True)
        if self.image:
            with open(self.image, "wb") as image:
                image.truncate(VOLUME_BYTES)
            options = ["-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard", "-N", str(VOLUME_INODES)]
            subprocess.run(["mkfs.ext4", "-q", *options, self.image], check=True)
            subprocess.run(["mount", "-o", "loop", self.image, self.path], check=True)
            (self.path / "lost+found").rmdir()
        return self.path

    def __exit__(self, *_: object) -> None:
        if self.image:
            subprocess.run(["umount", self.path], check=True)
            self.image.unlink()
        shutil.rmtree(self.path)
