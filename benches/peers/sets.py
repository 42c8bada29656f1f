"""The data that is backed up: four sets, made once from Debian's packages and from seeds, and kept.

  src   the source of Linux 6.1 as Debian packages it (78 000 files, 1.3 GB)
  vm    an ext4 image of 2.7 GB with a system's packages in it, and beside it the same image after an upgrade (root only)
  mix   packages, the programs in them, a SQLite database, logs and pictures: 1.5 GB, half of it incompressible
  tiny  200 000 files of 0 to 2 KB in 12 500 folders, words and, three in ten, noise

`src` is the one of benches/tar. The `tiny` of that bench is another: nearly the same in all files, so it says nothing of deduplication.

A set is made in a folder beside its place and moved there when it is whole, so an interrupted run leaves no half set. What comes from
a seed is the same everywhere; what comes from packages changes a little when Debian updates them, so only figures of one
folder of data belong together.
"""
from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from install import download

VM_BYTES = 2560 << 20
# Fixed, since both are drawn at random otherwise and end up in the image.
VM_UUID, VM_HASH_SEED = "6f5c0c52-76f5-4d6c-9a37-3c1a1f0d9e01", "6f5c0c52-76f5-4d6c-9a37-3c1a1f0d9e02"
VM_PACKAGES = (
    "gcc-12 cpp-12 g++-12 gfortran-12 libperl5.36 perl-modules-5.36 libpython3.11-stdlib git vim-runtime postgresql-15 locales gdb cmake "
    "cmake-data libicu72 libllvm14 llvm-14 llvm-14-dev golang-1.19-src libreoffice-core libreoffice-common fonts-noto-core iso-codes "
    "libnode108 libboost1.74-dev python3-scipy"
).split()
VM_UPGRADE = "openjdk-17-jre-headless emacs-common mariadb-server-core libpython3.11-dev subversion".split()
VM_REWRITTEN = 200

MIX_PACKAGES = (
    "chromium firefox-esr golang-1.19-go libclang-cpp14 libllvm14 libqt5webenginecore5 libwebkit2gtk-4.1-0 openjdk-17-jre-headless".split()
)
MIX_UNPACKED = "chromium libclang-cpp14 libllvm14 openjdk-17-jre-headless".split()
MIX_ROWS = 350_000
MIX_LOGS, MIX_LOG_LINES = 6, 250_000
MIX_PICTURES = 30

TINY_FILES, TINY_PER_FOLDER, TINY_BYTES = 200_000, 16, 2048


def make(name: str, data: Path) -> Path:
    """The folder of a set, made first if it is missing."""
    place = folder_of(name, data)
    if not place.exists():
        print("making", place, flush=True)
        unfinished = place.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        MAKERS[name](unfinished, data)
        unfinished.rename(place)
    if name == "vm" and not vm_next(data).exists():
        make_vm_next(place, data)
    return place


def folder_of(name: str, data: Path) -> Path:
    """Where a set is. Other benches share the folder of the data, and have a `tiny` of their own."""
    return data / ("tiny-words" if name == "tiny" else name)


def make_src(folder: Path, data: Path) -> None:
    [package] = packages(["linux-source-6.1"], data)
    unpacked = folder.with_suffix(".package")
    subprocess.run(["dpkg", "-x", package, unpacked], check=True)
    archive = unpacked / "usr/src/linux-source-6.1.tar.xz"
    subprocess.run(["tar", "-xJf", archive, "-C", folder, "--strip-components=1"], check=True)
    shutil.rmtree(unpacked)


def make_tiny(folder: Path, data: Path) -> None:
    rng = random.Random(11)
    text = " ".join(rng.choices(words(), k=200_000)).encode()
    for number in range(TINY_FILES):
        if number % TINY_PER_FOLDER == 0:
            key = f"{rng.getrandbits(32):08x}"
            path = folder / key[0] / key[1:3] / key[3:5] / key
            path.mkdir(parents=True, exist_ok=True)
        size = 0 if rng.random() < 0.05 else rng.randint(0, TINY_BYTES)
        start = rng.randrange(len(text) - TINY_BYTES)
        content = rng.randbytes(size) if rng.random() < 0.3 else text[start : start + size]
        (path / f"{number:06}.{rng.choice(('c', 'dat', 'json', 'txt'))}").write_bytes(content)


def make_mix(folder: Path, data: Path) -> None:
    for part in ("packages", "programs", "database", "logs", "pictures"):
        (folder / part).mkdir()
    for package in packages(MIX_PACKAGES, data):
        shutil.copy2(package, folder / "packages")
    for name, package in zip(MIX_UNPACKED, packages(MIX_UNPACKED, data)):
        subprocess.run(["dpkg", "-x", package, folder / "programs" / name], check=True)
    make_database(folder / "database/records.sqlite")
    for number in range(MIX_LOGS):
        with open(folder / f"logs/server-{number}.log", "w") as log:
            log.writelines(log_lines(random.Random(1000 + number), MIX_LOG_LINES))
    for number in range(MIX_PICTURES):
        rng = random.Random(2000 + number)
        (folder / f"pictures/{number:03}.jpg").write_bytes(rng.randbytes(rng.randint(1 << 20, 6 << 20)))


def make_database(path: Path) -> None:
    rng = random.Random(13)
    vocabulary = words()
    rows = (
        (f"{rng.choice(vocabulary)}/{rng.getrandbits(40):x}", " ".join(rng.choices(vocabulary, k=rng.randint(8, 120))), rng.randbytes(64))
        for _ in range(MIX_ROWS)
    )
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = OFF")
    database.execute("CREATE TABLE record (id INTEGER PRIMARY KEY, name TEXT, note TEXT, digest BLOB)")
    database.execute("CREATE INDEX record_by_name ON record (name)")
    database.executemany("INSERT INTO record (name, note, digest) VALUES (?, ?, ?)", rows)
    database.commit()
    database.close()


def make_vm(folder: Path, data: Path) -> None:
    if os.geteuid() != 0:
        sys.exit("the set vm is made by mounting its image, which only root can do: leave it out with --sets")
    system = folder.with_suffix(".system")
    shutil.rmtree(system, ignore_errors=True)
    for package in packages([*VM_PACKAGES, kernel_package()], data):
        subprocess.run(["dpkg", "-x", package, system], check=True)
    image = folder / "disk.raw"
    with open(image, "wb") as file:
        file.truncate(VM_BYTES)
    options = ["-U", VM_UUID, "-E", f"hash_seed={VM_HASH_SEED},lazy_itable_init=0", "-d", system]
    subprocess.run(["mkfs.ext4", "-q", *options, image], check=True)
    shutil.rmtree(system)


def make_vm_next(folder: Path, data: Path) -> None:
    """Its next version, out of the set, which is what a backup sees."""
    print("making", vm_next(data), flush=True)
    upgraded = vm_next(data).with_suffix(".unfinished")
    subprocess.run(["cp", "--sparse=always", folder / "disk.raw", upgraded], check=True)
    mounted = folder.with_suffix(".mounted")
    mounted.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", upgraded, mounted], check=True)
    try:
        upgrade(mounted, data)
    finally:
        subprocess.run(["umount", mounted], check=True)
    mounted.rmdir()
    upgraded.rename(vm_next(data))


def vm_next(data: Path) -> Path:
    return data / "vm-next.raw"


def upgrade(system: Path, data: Path) -> None:
    """What weeks of use do to a system: packages come, some documentation goes, a log grows, files are replaced."""
    rng = random.Random(17)
    for package in packages(VM_UPGRADE, data):
        subprocess.run(["dpkg", "-x", package, system], check=True)
    for gone in ("usr/share/doc/git", "usr/share/doc/cmake-data"):
        shutil.rmtree(system / gone, ignore_errors=True)
    (system / "var/log").mkdir(parents=True, exist_ok=True)
    with open(system / "var/log/syslog", "w") as log:
        log.writelines(log_lines(rng, 100_000))
    shared = sorted(path for path in (system / "usr/share").rglob("*") if path.is_file() and not path.is_symlink())
    for path in rng.sample(shared, VM_REWRITTEN):
        path.write_bytes(b"# the next version\n" + path.read_bytes())


def kernel_package() -> str:
    """The package with the current kernel, whose name has its version in it."""
    command = ["apt-cache", "depends", "--important", "linux-image-amd64"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return next(line.split()[-1] for line in lines if "Depends: linux-image-" in line)


def packages(names: list[str], data: Path) -> list[Path]:
    """Debian packages by name, in the order of the names, downloaded when they are not there yet."""
    folder = data / "packages"
    folder.mkdir(parents=True, exist_ok=True)
    found = lambda name: sorted(folder.glob(f"{name}_*.deb"))
    missing = [name for name in names if not found(name)]
    if missing:
        download(missing, folder)
    return [found(name)[-1] for name in names]


def words() -> list[str]:
    rng = random.Random(19)
    return ["".join(rng.choices("aeiourstlnmcdpgh", k=rng.randint(2, 10))) for _ in range(4000)]


def log_lines(rng: random.Random, count: int) -> Iterator[str]:
    vocabulary = words()
    clock = 0.0
    for _ in range(count):
        clock += rng.expovariate(1.0)
        minutes, seconds = divmod(clock, 60)
        message = " ".join(rng.choices(vocabulary, k=rng.randint(2, 6)))
        level = rng.choice(("debug", "info", "info", "info", "warning", "error"))
        where = f"{rng.choice(vocabulary)}[{rng.randint(100, 30_000)}]"
        days, hours = divmod(int(minutes) // 60, 24)
        stamp = f"day {days} {hours:02}:{int(minutes) % 60:02}:{seconds:06.3f}"
        yield f"{stamp} {where} {level}: {message} ({rng.getrandbits(32):08x})\n"


MAKERS = {"src": make_src, "vm": make_vm, "mix": make_mix, "tiny": make_tiny}
