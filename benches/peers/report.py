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
from programs import PEERS, PHASES

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

# Where the bar is of another peer than the best: bupstash has a key file, and derives no key from a password, which is most of what a
# backup without a change of a few large files takes.
BAR_PEERS = {("vm", "again"): "rustic", ("mix", "again"): "rustic"}

# In every phase ours may need no more memory than this peer, of the largest process.
MEMORY_PEER = "restic"

# So much worse than the ratio of wall seconds that of CPU seconds may be before it is called worse.
CPU_SLACK = 1.1


@dataclass
class Results:
    """Everything measured: by set, phase and program one Taken a run; sizes and differences beside them."""

    taken: dict[tuple[str, str, str], list[Taken]] = field(default_factory=lambda: defaultdict(list))
    sizes: dict[tuple[str, str, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    differences: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    options: list[dict[str, object]] = field(default_factory=list)

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
        """The peer with the least; those of the floor are none."""
        known = [name for name in PEERS if values.get(name) is not None]
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

    def values(self, data: str, phase: str, what: str = "wall") -> dict[str, float | None]:
        names = list(dict.fromkeys(name for of, _, name in self.taken if of == data))
        if phase == "repository":
            return {name: self.size(data, "next", name) for name in names}
        return {name: self.median(data, phase, name, what) for name in names}

    def bar(self, data: str, phase: str) -> tuple[list[str], list[str]]:
        """The lines about ours in a cell, beside the best peer and the peer of the bar, and the complaints about bars that are missed."""
        values = self.values(data, phase)
        best = self.best_peer(values)
        if best is None:
            return [], []
        if values.get(OURS) is None:
            return [f"best peer: {best}"], []
        lines, complaints = [], []
        judge = BAR_PEERS.get((data, phase), best)
        if judge != best:
            lines.append(f"{OURS} / {best} = {values[OURS] / values[best]:.2f} (best peer, not the bar's){self.cpu(data, phase, best)}")
        if values.get(judge) is None:
            lines.append(f"the bar's peer, {judge}, was not measured")
        else:
            ratio, bar = values[OURS] / values[judge], BARS[phase][SETS.index(data)]
            verdict = "met" if ratio <= bar else "MISSED"
            lines.append(f"{OURS} / {judge} = {ratio:.2f}, bar {bar:.2f}: {verdict}{self.cpu(data, phase, judge)}")
            complaints += [f"{data}: {phase} takes {ratio:.2f} of {judge}'s, more than {bar:.2f}"] if ratio > bar else []
        more_lines, more_complaints = self.memory(data, phase)
        return lines + more_lines, complaints + more_complaints

    def cpu(self, data: str, phase: str, peer: str) -> str:
        """The ratio of CPU seconds, to be read beside that of the wall's: time is not to be bought with more of them."""
        values = self.values(data, phase, "cpu")
        if phase == "repository" or not values.get(peer):
            return ""
        walls = self.values(data, phase)
        ratio, of_wall = values[OURS] / values[peer], walls[OURS] / walls[peer]
        return f"; CPU {ratio:.2f}" + (", a worse ratio" if ratio > of_wall * CPU_SLACK else "")

    def memory(self, data: str, phase: str) -> tuple[list[str], list[str]]:
        peaks = self.values(data, phase, "largest_mb")
        if phase == "repository" or peaks.get(MEMORY_PEER) is None:
            return [], []
        ours, bar = peaks[OURS], peaks[MEMORY_PEER]
        lines = [f"peak {ours:.0f} MB, bar {bar:.0f} ({MEMORY_PEER}): {'met' if ours <= bar else 'MISSED'}"]
        return lines, [f"{data}: {phase} needs {ours:.0f} MB, more than {MEMORY_PEER}'s {bar:.0f}"] if ours > bar else []

    def table(self, data: str) -> str:
        """The medians of a set, the fastest of a phase first."""
        lines = [f"{data:8} {'':10} {'wall s':>8} {'CPU s':>8} {'peak MB':>8} {'sum MB':>8} {'repo MB':>8} {'others':>8}"]
        for phase in (phase for phase in PHASES if any(key[:2] == (data, phase) for key in self.taken)):
            walls = self.values(data, phase)
            ranked = sorted(walls, key=lambda name: (walls[name] is None, walls[name] or 0.0))
            lines += [self.row(data, phase, name) for name in ranked if (data, phase, name) in self.taken]
            lines += [f"{'':8} {line}" for line in self.bar(data, phase)[0]]
        if any(key[:2] == (data, "next") for key in self.sizes):
            lines += [f"{'size':8} {line}" for line in self.bar(data, "repository")[0]]
        for (of, name), kinds in self.differences.items():
            lines += [f"{'restored':8} {name:10} differs: {dict(kinds)}"] if kinds and of == data else []
        return "\n".join(lines)

    def row(self, data: str, phase: str, name: str) -> str:
        cells = [self.median(data, phase, name, what) for what in ("wall", "cpu", "largest_mb", "sum_mb")]
        if cells[0] is None:
            return f"{phase:8} {name:10} failed"
        size = self.size(data, phase, name)
        cells += [size / 1e6 if size is not None else float("nan"), self.median(data, phase, name, "others_cpu")]
        forms = ("8.2f", "8.2f", "8.0f", "8.0f", "8.1f", "8.2f")
        return f"{phase:8} {name:10} " + " ".join(format(cell, form) for cell, form in zip(cells, forms))

    def write_json(self, path: Path) -> None:
        measured = [
            {"set": data, "phase": phase, "program": name, "run": number, "repository_bytes": size, **asdict(run)}
            for (data, phase, name), runs in self.taken.items()
            for number, (run, size) in enumerate(zip(runs, self.sizes[data, phase, name]))
        ]
        unlike = [{"set": data, "program": name, "kinds": dict(kinds)} for (data, name), kinds in self.differences.items() if kinds]
        cells = [(data, phase, *self.bar(data, phase)) for data in SETS for phase in BARS]
        whole = {
            "versions": self.versions,
            "options": self.options,
            "machine": machine(),
            "measured": measured,
            "differences": unlike,
            "bars": [
                {"set": data, "phase": phase, "lines": lines, "met": not missed}
                for data, phase, lines, missed in cells
                if any(OURS in line for line in lines)
            ],
            "complaints": self.missed(),
        }
        # In one step: a run that is ended leaves what was there before.
        unfinished = path.with_name(f"{path.name}.unfinished")
        unfinished.write_text(json.dumps(whole, indent=1) + "\n")
        unfinished.replace(path)

    def add_json(self, path: Path) -> str | None:
        """Adds the runs of an earlier file to those here; or says why they do not belong together."""
        earlier = json.loads(path.read_text())
        if not isinstance(earlier["options"], list):
            return "it is of an older form"
        unlike = [name for name, version in self.versions.items() if earlier["versions"].get(name, version) != version]
        if unlike:
            return f"made with another version of {', '.join(unlike)}"
        if earlier["machine"] != machine():
            return "made on another machine"
        if {options["fresh"] for options in earlier["options"]} - {options["fresh"] for options in self.options}:
            return "--fresh was said for one of them only"
        self.versions = {**earlier["versions"], **self.versions}
        self.options = earlier["options"] + self.options
        for row in earlier["measured"]:
            cell = row["set"], row["phase"], row["program"]
            self.taken[cell].append(Taken(**{name: row[name] for name in Taken.__dataclass_fields__}))
            self.sizes[cell].append(row["repository_bytes"])
        for row in earlier["differences"]:
            self.differences[row["set"], row["program"]] = Counter(row["kinds"])
        return None


def machine() -> dict[str, object]:
    return {"cores": os.cpu_count(), "kernel": platform.release()}
