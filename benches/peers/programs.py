"""The programs that are compared: how each is told to do a phase, and what has to be set in its environment.

Every program runs with its defaults and with encryption, but borg: it asks for a way of encryption, and is given zstd level 3, near
what the others use (its default, lz4, takes less time and more room). bupstash works with a key file, so it derives no key from a
password. `tar | zstd` and `rsync` are no backup programs: they neither deduplicate nor encrypt, and are shown as the floor.
"""
from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

PASSWORD = "a password for measuring"

PHASES = ("first", "again", "next", "restore", "check")
BACKUPS = ("first", "again", "next")


@dataclass
class Step:
    """One pipeline of a command; the commands of a phase run one after the other."""

    stages: list[list[str]]
    input: Path | None = None
    output: Path | None = None
    folder: Path | None = None

    def as_json(self) -> dict:
        paths = {"input": self.input, "output": self.output, "folder": self.folder}
        return {"stages": self.stages, **{name: str(path) if path else None for name, path in paths.items()}}


@dataclass
class Place:
    """Where one program works in one run: the source it reads, its repository, its caches, and how many backups it has made."""

    source: Path
    repository: Path
    work: Path
    target: Path
    backups: int = 0


Commands = Callable[[Place], list[Step]]


@dataclass
class Program:
    """A program: the commands of each phase, what its environment needs, and where in the target a restore puts the source."""

    name: str
    path: str
    prepare: Commands
    backup: Commands
    restore: Commands
    check: Commands
    environment: Callable[[Place], dict[str, str]] = lambda place: {}
    restored: Callable[[Place], Path] = lambda place: place.target
    version: list[str] = field(default_factory=lambda: ["--version"])
    is_floor: bool = False
    note: str = ""

    def environment_in(self, place: Place) -> dict[str, str]:
        """The environment of the program: a home of its own, so that no cache outlives a run."""
        work = str(place.work)
        home = {"HOME": work, "XDG_CACHE_HOME": f"{work}/cache", "TMPDIR": work, "LC_ALL": "C.UTF-8"}
        return {"PATH": os.environ["PATH"], **home, **self.environment(place)}

    def commands(self, phase: str, place: Place) -> list[Step]:
        return {"restore": self.restore, "check": self.check}.get(phase, self.backup)(place)


def one(*words: str | Path, **where: Path) -> list[Step]:
    """A phase that is a single command."""
    return [Step([[str(word) for word in words]], **where)]


def icecore(path: str) -> Program:
    return Program(
        "icecore",
        path,
        prepare=lambda place: one(path, "init", "-r", place.repository),
        backup=lambda place: one(path, "backup", "-r", place.repository, "--name", "bench", place.source),
        restore=lambda place: one(path, "restore", "-r", place.repository, "--target", place.target, "latest"),
        check=lambda place: one(path, "check", "-r", place.repository, "--read-data"),
        environment=lambda place: {"ICECORE_PASSWORD": PASSWORD},
    )


def restic(path: str) -> Program:
    return Program(
        "restic",
        path,
        prepare=lambda place: one(path, "init"),
        backup=lambda place: one(path, "backup", "--quiet", place.source),
        restore=lambda place: one(path, "restore", "--quiet", "latest", "--target", place.target),
        check=lambda place: one(path, "check", "--quiet", "--read-data"),
        environment=lambda place: {"RESTIC_REPOSITORY": str(place.repository), "RESTIC_PASSWORD": PASSWORD},
        restored=lambda place: place.target / place.source.relative_to("/"),
        version=["version"],
    )


def rustic(path: str) -> Program:
    return Program(
        "rustic",
        path,
        prepare=lambda place: one(path, "init"),
        backup=lambda place: one(path, "backup", place.source),
        restore=lambda place: one(path, "restore", f"latest:{place.source}", place.target),
        check=lambda place: one(path, "check", "--read-data"),
        environment=lambda place: {
            "RUSTIC_REPOSITORY": str(place.repository),
            "RUSTIC_PASSWORD": PASSWORD,
            "RUSTIC_NO_PROGRESS": "true",
            "RUSTIC_LOG_LEVEL": "warn",
        },
    )


def borg(path: str) -> Program:
    return Program(
        "borg",
        path,
        prepare=lambda place: one(path, "init", "--encryption", "repokey-blake2", place.repository),
        backup=lambda place: one(
            path, "create", "--compression", "zstd,3", f"{place.repository}::{place.backups}", ".", folder=place.source
        ),
        restore=lambda place: one(path, "extract", f"{place.repository}::{place.backups - 1}", folder=place.target),
        check=lambda place: one(path, "check", "--verify-data", place.repository),
        environment=lambda place: {"BORG_BASE_DIR": str(place.work), "BORG_PASSPHRASE": PASSWORD},
        note="zstd 3",
    )


def bupstash(path: str) -> Program:
    key = lambda place: place.work / "key"
    return Program(
        "bupstash",
        path,
        prepare=lambda place: one(path, "init") + one(path, "new-key", "-o", key(place)),
        backup=lambda place: one(path, "put", "--quiet", f"name={place.backups}", place.source),
        restore=lambda place: one(path, "restore", "--quiet", "--into", place.target, f"name={place.backups - 1}"),
        check=lambda place: one(path, "get", "--quiet", f"name={place.backups - 1}", output=Path(os.devnull)),
        # It makes its repository itself, in a folder that is not there yet.
        environment=lambda place: {"BUPSTASH_REPOSITORY": str(place.repository / "data"), "BUPSTASH_KEY": str(key(place))},
        note="key file; check reads the latest backup only",
    )


def tar_zstd(path: str) -> Program:
    def archive(place: Place, level: int) -> Path:
        return place.repository / f"{level}.tar.zst"

    def backup(place: Place) -> list[Step]:
        tar = [path, "-c", "-C", str(place.source), f"--listed-incremental={place.work}/snapshot", "."]
        return [Step([tar, ["zstd", "-q", "-3", "-T0"]], output=archive(place, place.backups))]

    def restore(place: Place) -> list[Step]:
        tar = [path, "-x", "-p", "-C", str(place.target), "--listed-incremental=/dev/null"]
        return [Step([["zstd", "-dqc"], tar], input=archive(place, level)) for level in range(place.backups)]

    def check(place: Place) -> list[Step]:
        return one("zstd", "-tq", *(archive(place, level) for level in range(place.backups)))

    return Program("tar+zstd", path, lambda place: [], backup, restore, check, is_floor=True)


def rsync(path: str) -> Program:
    def copy(place: Place, number: int) -> Path:
        return place.repository / str(number)

    def backup(place: Place) -> list[Step]:
        linked = [f"--link-dest={copy(place, place.backups - 1)}"] if place.backups else []
        return one(path, "-a", "--delete", *linked, f"{place.source}/", f"{copy(place, place.backups)}/")

    def restore(place: Place) -> list[Step]:
        return one(path, "-a", f"{copy(place, place.backups - 1)}/", f"{place.target}/")

    def check(place: Place) -> list[Step]:
        return one(path, "-anc", "--delete", f"{place.source}/", f"{copy(place, place.backups - 1)}/")

    return Program("rsync", path, lambda place: [], backup, restore, check, is_floor=True)


PEERS: dict[str, Callable[[str], Program]] = {"restic": restic, "rustic": rustic, "borg": borg, "bupstash": bupstash}
FLOORS: dict[str, Callable[[str], Program]] = {"tar": tar_zstd, "rsync": rsync}
