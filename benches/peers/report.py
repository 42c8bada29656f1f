"""What was measured, as tables and as JSON, and the bars that ours has to keep."""
from __future__ import annotations

import json
import os
import platform
import statistics
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path

from manifest import LOSSES
from measure import Taken
from programs import PHASES, Program

SETS = ("src", "vm", "mix", "tiny")
OURS = "icecore"

# What ours may take, as a part of what the best peer of the same cell takes; the last row is the size of the repository.
BARS = {
    "first": (0.60, 0.55, 0.50, 0.45),
    "again": (0.60, 0.80, 0.80, 0.55),
    "next": (0.30, 0.45, 0.50, 0.50),
    "restore": (0.60, 0.60, 0.70, 0.70),
    "check": (0.50, 0.60, 0.60, 0.50),
    "repository": (0.85, 1.00, 1.00, 0.80),
}


@dataclass
class Results:
    """Everything measured: by set, phase and program one Taken a run; sizes and differences beside them."""

    programs: list[Program]
    taken: dict[tuple[str, str, str], list[Taken]] = field(default_factory=lambda: defaultdict(list))
    sizes: dict[tuple[str, str, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    differences: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)

    def median(self, data: str, phase: str, name: str, what: str) -> float | None:
        """The median of the runs, or None when there are none or one failed: what failed has no time."""
        runs = self.taken.get((data, phase, name), [])
        if not runs or any(run.status != 0 for run in runs):
            return None
        return statistics.median(getattr(run, what) for run in runs)

    def size(self, data: str, phase: str, name: str) -> float | None:
        sizes = self.sizes.get((data, phase, name))
        return statistics.median(sizes) if sizes else None

    def best_peer(self, values: dict[str, float | None]) -> str | None:
        """The peer with the least, those of the floor not counted."""
        peers = [program.name for program in self.programs if not program.is_floor and program.name != OURS]
        known = [name for name in peers if values.get(name) is not None]
        return min(known, key=lambda name: values[name]) if known else None

    def missed(self) -> list[str]:
        """The bars that are not kept, restores that differ, and commands that failed."""
        found = [line for data in SETS for phase in BARS for line in self.bar(data, phase)[1]]
        for (data, name), differences in self.differences.items():
            # Of the peers, losses; of ours, everything.
            counted = {kind: count for kind, count in differences.items() if name == OURS or kind in LOSSES}
            found += [f"{data}: the restore of {name} differs: {counted}"] if counted else []
        for (data, phase, name), runs in self.taken.items():
            found += [f"{data}: {phase} of {name} failed with status {run.status}" for run in runs if run.status != 0]
        return found

    def values(self, data: str, phase: str) -> dict[str, float | None]:
        names = [program.name for program in self.programs]
        if phase == "repository":
            return {name: self.size(data, "next", name) for name in names}
        return {name: self.median(data, phase, name, "wall") for name in names}

    def bar(self, data: str, phase: str) -> tuple[str, list[str]]:
        """The line about ours against the best peer of a cell, and the complaint when its bar is missed."""
        values = self.values(data, phase)
        best = self.best_peer(values)
        if best is None:
            return "", []
        if values.get(OURS) is None:
            return f"best peer: {best}", []
        ratio, bar = values[OURS] / values[best], BARS[phase][SETS.index(data)]
        verdict = "met" if ratio <= bar else "MISSED"
        complaint = [f"{data}: {phase} takes {ratio:.2f} of {best}'s, more than {bar:.2f}"] if ratio > bar else []
        return f"{OURS} / {best} = {ratio:.2f}, bar {bar:.2f}: {verdict}", complaint

    def table(self, data: str) -> str:
        """The medians of a set, the fastest of a phase first."""
        lines = [f"{data:8} {'':10} {'wall s':>8} {'CPU s':>8} {'peak MB':>8} {'sum MB':>8} {'repo MB':>8} {'others':>8}"]
        for phase in (phase for phase in PHASES if any(key[:2] == (data, phase) for key in self.taken)):
            walls = self.values(data, phase)
            ranked = sorted(walls, key=lambda name: (walls[name] is None, walls[name] or 0.0))
            lines += [self.row(data, phase, name) for name in ranked if (data, phase, name) in self.taken]
            lines.append(f"{'':8} {self.bar(data, phase)[0]}")
        if any(key[:2] == (data, "next") for key in self.sizes):
            lines.append(f"{'size':8} {self.bar(data, 'repository')[0]}")
        for program in self.programs:
            kept = self.differences.get((data, program.name))
            lines += [f"{'restored':8} {program.name:10} differs: {dict(kept)}"] if kept else []
        return "\n".join(lines)

    def row(self, data: str, phase: str, name: str) -> str:
        cells = [self.median(data, phase, name, what) for what in ("wall", "cpu", "largest_mb", "sum_mb")]
        if cells[0] is None:
            return f"{phase:8} {name:10} failed"
        size = self.size(data, phase, name)
        cells += [size / 1e6 if size is not None else float("nan"), self.median(data, phase, name, "others_cpu")]
        forms = ("8.2f", "8.2f", "8.0f", "8.0f", "8.1f", "8.2f")
        return f"{phase:8} {name:10} " + " ".join(format(cell, form) for cell, form in zip(cells, forms))

    def write_json(self, path: Path, versions: dict[str, str], options: dict[str, object]) -> None:
        measured = [
            {"set": data, "phase": phase, "program": name, "run": number, "repository_bytes": size, **asdict(run)}
            for (data, phase, name), runs in self.taken.items()
            for number, (run, size) in enumerate(zip(runs, self.sizes[data, phase, name]))
        ]
        unlike = [{"set": data, "program": name, **kinds} for (data, name), kinds in self.differences.items() if kinds]
        cells = [(data, phase, *self.bar(data, phase)) for data in SETS for phase in BARS]
        whole = {
            "versions": versions,
            "options": options,
            "machine": {"cores": os.cpu_count(), "kernel": platform.release()},
            "measured": measured,
            "differences": unlike,
            "bars": [
                {"set": data, "phase": phase, "line": line, "met": not missed} for data, phase, line, missed in cells if OURS in line
            ],
            "complaints": self.missed(),
        }
        path.write_text(json.dumps(whole, indent=1) + "\n")
