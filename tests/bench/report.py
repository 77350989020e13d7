#!/usr/bin/env python3
"""What a benchmark run found: lines while it goes, JSON, RESULTS.md and the growth plot.

    report.py RESULTS.md RUN.json…

writes RESULTS.md from the JSON of several runs (bench.py --json): all workloads take an hour and
a half. A workload that two of them have is the later one's.
"""
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys


def sized(count):
    for unit, name in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if count >= unit:
            return f"{count / unit:g}{name}"
    return str(count)


def number(value):
    if value is None:
        return "-"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def spread(values):
    if not values:
        return "-"
    return f"{number(statistics.median(values))} ({number(min(values))}–{number(max(values))})"


class Pair:
    """One figure of ours beside one of a peer, or beside a limit alone (peer None)."""

    def __init__(self, workload, size, figure, unit, ours, *, peer=None, theirs=(), target=None,
                 limit=None, less_is_better=False):
        self.workload, self.size, self.figure, self.unit = workload, size, figure, unit
        self.ours, self.peer, self.theirs = list(ours), peer, list(theirs)
        self.target, self.limit, self.less_is_better = target, limit, less_is_better

    @property
    def ratio(self):
        """How many times better ours is; 1 = the same."""
        if not self.theirs or not self.ours:
            return None
        ours, theirs = statistics.median(self.ours), statistics.median(self.theirs)
        if self.less_is_better:
            ours, theirs = theirs, ours
        return ours / theirs if theirs else None

    @property
    def wanted(self):
        if self.target is not None:
            return f"≥ {self.target:g}×"
        if self.limit is not None:
            return f"{'≤' if self.less_is_better else '≥'} {number(self.limit)}"
        return "-"

    @property
    def verdict(self):
        if self.target is not None and self.ratio is not None:
            return "ok" if self.ratio >= self.target else "short"
        if self.limit is not None and self.ours:
            ours = statistics.median(self.ours)
            return "ok" if (ours <= self.limit if self.less_is_better else ours >= self.limit) else "short"
        return "-"

    def cells(self):
        ratio = self.ratio
        return [self.workload, self.size, f"{self.figure}, {self.unit}", spread(self.ours),
                self.peer or "-", spread(self.theirs),
                "-" if ratio is None else f"{ratio:.2f}×" if ratio < 100 else f"{ratio:,.0f}×",
                self.wanted, self.verdict]

    def plain(self):
        return {"workload": self.workload, "size": self.size, "figure": self.figure,
                "unit": self.unit, "ours": self.ours, "peer": self.peer, "theirs": self.theirs,
                "ratio": self.ratio, "target": self.target, "limit": self.limit,
                "less_is_better": self.less_is_better, "verdict": self.verdict}

    @classmethod
    def of_plain(cls, plain):
        return cls(plain["workload"], plain["size"], plain["figure"], plain["unit"], plain["ours"],
                   peer=plain["peer"], theirs=plain["theirs"], target=plain["target"],
                   limit=plain["limit"], less_is_better=plain["less_is_better"])


class Report:
    HEAD = ["workload", "size", "figure", "ours", "peer", "theirs", "ratio", "target", ""]

    def __init__(self):
        self.pairs = []
        self.costs = []  # peak memory and bytes written of servers
        self.curves = {}  # name -> {rows: milliseconds}
        self.notes = []
        self.versions = {}
        self.started = datetime.datetime.now(datetime.timezone.utc)

    def add(self, pair):
        self.pairs.append(pair)
        print("  ".join(cell for cell in pair.cells() if cell), flush=True)

    def cost(self, workload, size, name, process, records, written_before=0):
        written = process.written_bytes() - written_before
        cost = {"workload": workload, "size": size, "name": name,
                "peak_bytes": process.peak_bytes(), "written_bytes": written, "records": records}
        self.costs.append(cost)
        print(f"{workload}  {size}  {name}: at most {cost['peak_bytes'] / 1e6:,.0f} MB in memory, "
              f"{written / 1e6:,.0f} MB written"
              + (f" ({written / records:,.0f} bytes a record)" if records else ""), flush=True)

    def point(self, curve, rows, milliseconds):
        self.curves.setdefault(curve, {})[rows] = milliseconds

    def note(self, text):
        self.notes.append(text)
        print(f"note: {text}", flush=True)

    def machine(self):
        model = next((line.split(":", 1)[1].strip() for line in
                      pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                      if line.startswith("model name")), platform.machine())
        return model

    def write_json(self, path):
        pathlib.Path(path).write_text(json.dumps(
            {"machine": self.machine(), "date": self.started.isoformat(timespec="seconds"),
             "versions": self.versions, "pairs": [pair.plain() for pair in self.pairs],
             "costs": self.costs, "curves": self.curves, "notes": self.notes}, indent=1) + "\n")

    def origin(self):
        return [f"* {self.started:%Y-%m-%d %H:%M} UTC, {self.machine()}, "
                f"{os.cpu_count()} cores, Linux {platform.release().split('-')[0]}",
                "* " + ", ".join(f"{name} {version}" for name, version in self.versions.items())]

    def write_results(self, path, command, origin=None):
        plot_path = path.with_name("growth.svg")
        lines = ["# Benchmark results", "",
                 f"Written by `{command}`; `tests/bench/bench.py --help` says how to repeat one workload.",
                 "", *(origin or self.origin()),
                 "* Both sides durable: nothing is answered before it is on the disk. The side that serves has "
                 "the first core, the side that asks the last. Rounds are interleaved; figures are medians "
                 "(least–most). A ratio says how many times better ours is.", ""]
        lines += ["| " + " | ".join(self.HEAD) + " |", "|" + "---|" * len(self.HEAD)]
        lines += ["| " + " | ".join(pair.cells()) + " |" for pair in self.pairs]
        if self.costs:
            lines += ["", "## Memory and bytes written", "",
                      "| workload | size | server | peak memory, MB | written, MB | bytes a record |",
                      "|---|---|---|---|---|---|"]
            for cost in self.costs:
                each = number(cost["written_bytes"] / cost["records"]) if cost["records"] else "-"
                lines.append(f"| {cost['workload']} | {cost['size']} | {cost['name']} | "
                             f"{cost['peak_bytes'] / 1e6:,.0f} | {cost['written_bytes'] / 1e6:,.0f} | {each} |")
        if self.curves:
            lines += ["", "## Cost of an upsert of 1,000 rows against the table's size", "",
                      f"![growth]({plot_path.name})"]
            plot_path.write_text(plot(self.curves))
        if self.notes:
            lines += ["", "## Notes", ""] + [f"* {note}" for note in self.notes]
        limits = path.with_name("LIMITS.md")
        if limits.exists():
            lines += ["", limits.read_text().rstrip()]
        path.write_text("\n".join(lines) + "\n")


def plot(curves):
    """Both axes logarithmic; one line a subject, named at its end."""
    import math
    width, height, left, bottom, right = 720, 420, 70, 50, 130
    points = [(rows, ms) for curve in curves.values() for rows, ms in curve.items()]
    x_low, x_high = math.log10(min(p[0] for p in points)), math.log10(max(p[0] for p in points))
    y_low = math.floor(math.log10(min(p[1] for p in points)))
    y_high = math.ceil(math.log10(max(p[1] for p in points)))

    def x_of(rows):
        return left + (math.log10(rows) - x_low) / ((x_high - x_low) or 1) * (width - left - right)

    def y_of(ms):
        return height - bottom - (math.log10(ms) - y_low) / ((y_high - y_low) or 1) * (height - bottom - 20)

    colours = ["#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#17becf"]
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
             f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>']
    for power in range(y_low, y_high + 1):
        y = y_of(10 ** power)
        parts.append(f'<line x1="{left}" y1="{y:.1f}" x2="{width - right}" y2="{y:.1f}" stroke="#ddd"/>'
                     f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{10.0 ** power:g} ms</text>')
    for rows in sorted({p[0] for p in points}):
        parts.append(f'<text x="{x_of(rows):.1f}" y="{height - bottom + 20}" text-anchor="middle">'
                     f'{sized(rows)} rows</text>')
    for colour, (name, curve) in zip(colours, sorted(curves.items())):
        ordered = sorted(curve.items())
        path = " ".join(f"{x_of(rows):.1f},{y_of(ms):.1f}" for rows, ms in ordered)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for rows, ms in ordered:
            parts.append(f'<circle cx="{x_of(rows):.1f}" cy="{y_of(ms):.1f}" r="3" fill="{colour}"/>')
        rows, ms = ordered[-1]
        parts.append(f'<text x="{x_of(rows) + 8:.1f}" y="{y_of(ms) + 4:.1f}" fill="{colour}">{name}</text>')
    return "\n".join(parts + ["</svg>"]) + "\n"


def commit():
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], stdout=subprocess.PIPE, text=True,
                          check=False)
    return done.stdout.strip() or "unknown"


def read_run(path):
    """The report of one run, its origin in a line, and its workloads."""
    found = json.loads(pathlib.Path(path).read_text())
    report = Report()
    report.pairs = [Pair.of_plain(plain) for plain in found["pairs"]]
    report.costs, report.notes = found["costs"], found["notes"]
    report.curves = {name: {int(rows): ms for rows, ms in curve.items()}
                     for name, curve in found["curves"].items()}
    workloads = list(dict.fromkeys(pair.workload for pair in report.pairs))
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    origin = f"{found['date'][:16].replace('T', ' ')} UTC, {found['machine']}, {versions}"
    return report, origin, workloads


def join_runs(paths):
    """One report of several runs and the lines that say where each workload comes from."""
    whole = Report()
    came_from, notes = {}, {}
    for path in paths:
        report, origin, workloads = read_run(path)
        came_from.update({workload: origin for workload in workloads})
        whole.pairs = [pair for pair in whole.pairs if pair.workload not in workloads] + report.pairs
        whole.costs = [cost for cost in whole.costs if cost["workload"] not in workloads] + report.costs
        whole.curves.update(report.curves)
        notes[origin] = report.notes
    lines = []
    for origin in dict.fromkeys(came_from.values()):
        names = ", ".join(workload for workload, of in came_from.items() if of == origin)
        lines.append(f"* {names}: {origin}")
        whole.notes += [f"{names}: {note}" for note in notes[origin]]
    return whole, lines


def main():
    if len(sys.argv) < 3 or sys.argv[1].startswith("-"):
        print(__doc__, file=sys.stdout if "--help" in sys.argv else sys.stderr)
        return 0 if "--help" in sys.argv else 64
    whole, origin = join_runs(sys.argv[2:])
    whole.write_results(pathlib.Path(sys.argv[1]), "tests/bench/report.py RESULTS.md RUN.json…", origin)
    return 0


if __name__ == "__main__":
    sys.exit(main())
