"""Compares a restored tree with its source: content and metadata.

Differences are counted by kind. Those of `LOSSES` mean that the restore is wrong; the others say what a program does not keep.
"""
from __future__ import annotations

import os
import stat
from collections import Counter
from pathlib import Path

LOSSES = ("missing", "extra", "type", "size", "content", "link")
BUFFER_BYTES = 256 << 10


def differences(source: Path, restored: Path) -> Counter[str]:
    """How many entries of two trees differ, by what differs. The roots themselves are not compared."""
    found: Counter[str] = Counter()
    ours, theirs = entries(source), entries(restored)
    found["missing"] = len(ours.keys() - theirs.keys())
    found["extra"] = len(theirs.keys() - ours.keys())
    for name in ours.keys() & theirs.keys():
        found.update(compare_entry(source / name, restored / name, ours[name], theirs[name]))
    return +found


def entries(root: Path) -> dict[str, os.stat_result]:
    found: dict[str, os.stat_result] = {}
    todo = [""]
    while todo:
        folder = todo.pop()
        with os.scandir(root / folder) as listing:
            for entry in listing:
                name = os.path.join(folder, entry.name)
                found[name] = entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    todo.append(name)
    return found


def compare_entry(source: Path, restored: Path, a: os.stat_result, b: os.stat_result) -> list[str]:
    if stat.S_IFMT(a.st_mode) != stat.S_IFMT(b.st_mode):
        return ["type"]
    found = []
    if stat.S_IMODE(a.st_mode) != stat.S_IMODE(b.st_mode):
        found.append("mode")
    if (a.st_uid, a.st_gid) != (b.st_uid, b.st_gid):
        found.append("owner")
    if a.st_mtime_ns != b.st_mtime_ns:
        kind = {stat.S_IFDIR: "time of a folder", stat.S_IFLNK: "time of a link"}.get(stat.S_IFMT(a.st_mode), "time")
        found.append(kind if a.st_mtime_ns // 10**9 != b.st_mtime_ns // 10**9 else kind + " below a second")
    if stat.S_ISREG(a.st_mode):
        if a.st_nlink != b.st_nlink:
            found.append("hard link")
        if a.st_size != b.st_size:
            found.append("size")
        elif not same_content(source, restored):
            found.append("content")
    elif stat.S_ISLNK(a.st_mode) and os.readlink(source) != os.readlink(restored):
        found.append("link")
    found += ["extended attributes"] if attributes(source) != attributes(restored) else []
    return found


def same_content(first: Path, second: Path) -> bool:
    with open(first, "rb", buffering=0) as a, open(second, "rb", buffering=0) as b:
        while True:
            block = a.read(BUFFER_BYTES)
            if block != b.read(BUFFER_BYTES):
                return False
            if not block:
                return True


def attributes(path: Path) -> dict[str, bytes]:
    names = os.listxattr(path, follow_symlinks=False)
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}
