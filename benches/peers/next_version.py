"""The next version of a data set, made in place from a seed, and taken back.

In place, because a program that keeps what it knows of a file (inode, times) must find unchanged files unchanged. Before each change a
line of a journal says how to undo it and has left this process; what a file was is moved aside and later moved back. So a run that was
killed in the middle is undone at the start of the next.

Of the files, in a seeded order: 1 % get a few bytes in their middle, 0.5 % are new, 0.3 % go, 0.3 % move to another folder; one
folder is renamed; up to eight files of 1 MiB and more get bytes at their head. In `mix` also rows of the database are rewritten, a
log grows and one is rotated. `vm` is an image: its next version stands ready and takes its place.
"""
from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import sets

SEED = 42
LARGE_BYTES = 1 << 20
LARGE_EDITED = 8
HEAD_BYTES = 5000
DATABASE_ROWS = sets.MIX_ROWS // 100
APPENDED_LINES = 50_000


class Journal:
    """Changes below a root, each written down before it is made."""

    def __init__(self, root: Path, aside: Path):
        self.root, self.aside, self.count = root, aside, 0
        aside.mkdir(parents=True)
        self.lines = open(aside / "journal", "w", buffering=1)

    def note(self, undo: str, path: Path, other: Path | None = None) -> None:
        self.lines.write(json.dumps([undo, str(path), str(other) if other else None]) + "\n")

    def move_aside(self, path: Path) -> Path:
        self.count += 1
        kept = self.aside / str(self.count)
        self.note("put back", path, kept)
        path.rename(kept)
        return kept

    def rewrite(self, path: Path, change: Callable[[Path, Path], None]) -> None:
        """Replaces a file by what `change(old, new)` makes of it."""
        old = self.move_aside(path)
        change(old, path)
        shutil.copymode(old, path)

    def add(self, path: Path, content: bytes) -> None:
        self.note("remove", path)
        path.write_bytes(content)

    def rename(self, path: Path, new: Path) -> None:
        self.note("rename back", path, new)
        path.rename(new)


def apply(name: str, data: Path) -> None:
    """Makes the next version of a set."""
    root = sets.folder_of(name, data)
    journal = Journal(root, aside_of(name, data))
    rng = random.Random(SEED)
    if name == "vm":
        journal.rename(root / "disk.raw", journal.aside / "disk.raw")
        journal.rename(sets.vm_next(data), root / "disk.raw")
        # The upgrade has just happened.
        os.utime(root / "disk.raw")
        return
    if name == "mix":
        change_mix(journal, rng)
    change_files(journal, rng, files_of(root, leave={"database", "logs", "pictures"} if name == "mix" else set()))
    rename_a_folder(journal, rng)


def take_back(name: str, data: Path) -> None:
    """Undoes what was done to a set, if anything was."""
    aside = aside_of(name, data)
    if not (aside / "journal").exists():
        shutil.rmtree(aside, ignore_errors=True)
        return
    for line in reversed((aside / "journal").read_text().splitlines()):
        undo, path, other = json.loads(line)
        # A change that was noted and then not made, or is undone already, leaves nothing to undo.
        if undo == "remove":
            Path(path).unlink(missing_ok=True)
        elif os.path.exists(other) and (undo == "put back" or not os.path.exists(path)):
            os.replace(other, path)
    shutil.rmtree(aside)


def aside_of(name: str, data: Path) -> Path:
    return sets.folder_of(name, data).with_suffix(".aside")


def files_of(root: Path, leave: set[str]) -> list[Path]:
    """Every regular file below a root, in the same order each time, without those in the folders to be left."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(set(folders) - (leave if Path(folder) == root else set()))
        paths = (Path(folder, name) for name in sorted(names))
        found += [path for path in paths if path.is_file() and not path.is_symlink()]
    return found


def change_files(journal: Journal, rng: random.Random, files: list[Path]) -> None:
    large = [path for path in files if path.stat().st_size >= LARGE_BYTES]
    for path in rng.sample(large, min(LARGE_EDITED, len(large))):
        journal.rewrite(path, lambda old, new: insert_at_head(old, new, rng))
    taken = set(large)
    small = [path for path in files if path not in taken]
    rng.shuffle(small)
    share = lambda per_mille: max(1, len(files) * per_mille // 1000)
    draw = lambda count: [small.pop() for _ in range(min(count, len(small)))]
    for path in draw(share(10)):
        journal.rewrite(path, lambda old, new: insert_in_middle(old, new, rng))
    for path in draw(share(3)):
        journal.move_aside(path)
    for path in draw(share(3)):
        journal.rename(path, rng.choice(small).parent / f"moved-{rng.getrandbits(32):08x}-{path.name}")
    for number in range(share(5)):
        like = rng.choice(small).read_bytes()
        # Like its neighbours in size and words, and new all the same: cut somewhere and reversed.
        content = rng.randbytes(rng.randint(0, 64)) + like[: rng.randint(0, len(like))][::-1]
        journal.add(rng.choice(small).parent / f"new-{number:05}", content)


def insert_in_middle(old: Path, new: Path, rng: random.Random) -> None:
    content = old.read_bytes()
    at = rng.randint(0, len(content))
    new.write_bytes(content[:at] + b"changed %08x\n" % rng.getrandbits(32) + content[at:])


def insert_at_head(old: Path, new: Path, rng: random.Random) -> None:
    with open(old, "rb") as content, open(new, "wb") as out:
        out.write(rng.randbytes(rng.randint(1, HEAD_BYTES)))
        shutil.copyfileobj(content, out, 1 << 20)


def rename_a_folder(journal: Journal, rng: random.Random) -> None:
    second = sorted(path for path in journal.root.glob("*/*") if path.is_dir() and not path.is_symlink())
    chosen = rng.choice(second)
    journal.rename(chosen, chosen.with_name(chosen.name + "-renamed"))


def change_mix(journal: Journal, rng: random.Random) -> None:
    def update_rows(old: Path, new: Path) -> None:
        shutil.copyfile(old, new)
        database = sqlite3.connect(new)
        database.execute("PRAGMA journal_mode = OFF")
        rows = [(rng.randbytes(64), rng.randint(1, sets.MIX_ROWS)) for _ in range(DATABASE_ROWS)]
        database.executemany("UPDATE record SET digest = ? WHERE id = ?", rows)
        database.commit()
        database.close()

    def append(old: Path, new: Path) -> None:
        shutil.copyfile(old, new)
        with open(new, "a") as log:
            log.writelines(sets.log_lines(rng, APPENDED_LINES))

    logs, pictures = journal.root / "logs", journal.root / "pictures"
    journal.rewrite(journal.root / "database/records.sqlite", update_rows)
    journal.rewrite(logs / "server-5.log", append)
    journal.rename(logs / "server-0.log", logs / "server-0.log.1")
    journal.add(pictures / "new.jpg", rng.randbytes(8 << 20))
    journal.move_aside(pictures / "003.jpg")
