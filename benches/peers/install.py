"""Puts the peers into a folder: `bin/NAME` in it, for each of them, and nothing elsewhere but the libraries needed to build them.

What is on the machine already is not used: a version of a peer is that of its registry (Debian's, the Rust one, the Python one),
whoever runs the comparison. What cannot be installed ends the run, with a word on how to leave it out.
"""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

LIBRARIES = {
    "bupstash": "libsodium-dev pkg-config".split(),
    "borg": "libacl1-dev libssl-dev liblz4-dev libzstd-dev libxxhash-dev python3-dev build-essential pkg-config".split(),
}
CRATES = {"rustic": "rustic-rs", "bupstash": "bupstash"}


def find(names: list[str], tools: Path) -> dict[str, str]:
    """Where each peer is, installing what is missing."""
    placed = {name: tools / "bin" / name for name in names}
    return {name: str(path if path.exists() else install(name, tools)) for name, path in placed.items()}


def install(name: str, tools: Path) -> Path:
    print("installing", name, flush=True)
    (tools / "bin").mkdir(parents=True, exist_ok=True)
    try:
        install_libraries(LIBRARIES.get(name, []))
        if name in CRATES:
            install_crate(CRATES[name], tools)
        else:
            {"restic": install_restic, "borg": install_borg}[name](tools)
    except (subprocess.CalledProcessError, OSError) as error:
        sys.exit(f"{name} cannot be installed ({error}): leave it out with --peers")
    return tools / "bin" / name


def install_libraries(packages: list[str]) -> None:
    ask = ["dpkg-query", "-W", "-f", "${db:Status-Abbrev}"]
    state = lambda name: subprocess.run([*ask, name], capture_output=True).stdout
    missing = [name for name in packages if not state(name).startswith(b"ii")]
    if missing:
        apt_install(missing)


def apt_install(packages: list[str]) -> None:
    if os.geteuid() != 0:
        sys.exit(f"these packages are needed, and only root can install them: {' '.join(packages)}")
    subprocess.run(["apt-get", "-qq", "-y", "install", *packages], check=True, stdout=subprocess.DEVNULL)


def install_crate(crate: str, tools: Path) -> None:
    """Builds a program from the Rust registry, with the versions of its libraries that its makers tested."""
    build = tools / "build"
    environment = {**os.environ, "CARGO_TARGET_DIR": str(build)}
    command = ["cargo", "install", "--quiet", "--locked", "--root", str(tools), crate]
    # In a folder outside of any workspace, so that no workspace's configuration applies.
    subprocess.run(command, cwd=tools, env=environment, check=True)
    shutil.rmtree(build)


def install_restic(tools: Path) -> None:
    download(["restic"], tools)
    for package in tools.glob("restic_*.deb"):
        subprocess.run(["dpkg", "-x", str(package), str(tools / "restic")], check=True)
    link(tools, "restic", "../restic/usr/bin/restic")


def install_borg(tools: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(tools / "borg")], check=True)
    subprocess.run([str(tools / "borg/bin/pip"), "install", "-q", "borgbackup"], check=True)
    link(tools, "borg", "../borg/bin/borg")


def link(tools: Path, name: str, target: str) -> None:
    (tools / "bin" / name).unlink(missing_ok=True)
    (tools / "bin" / name).symlink_to(target)


def download(packages: list[str], folder: Path) -> None:
    """Fetches Debian packages into a folder, without installing them."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *packages]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def find_floor(program: str) -> str:
    """A program of the floor: the machine's own, installed when it is missing."""
    found = shutil.which(program)
    if not found:
        apt_install([program])
        found = shutil.which(program)
    if not found:
        sys.exit(f"{program} is missing")
    return found


def version(path: str, arguments: list[str]) -> str:
    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()[0]
