#!/usr/bin/env python3
"""Half of what the machine can take, for hours: does anything grow, slow down or fail?

One server with a table of prescriptions and one of members. Upserts of 1,000 rows come at half
the rate that one client reached before, member lookups at 1,000 a second beside them, both on a
fixed schedule; keys stay the same, so everything that grows is a leak. In every window the
server's memory, its descriptors, the table's files and dead rows and both p99 are noted.
Memory is looked at every second, and a window counts by its least: what a compaction holds while
it runs swings by a hundred MiB, which hides a leak and looks like one. What is allocated tells a
leak to the byte; of what is resident, which the allocator keeps and gives back by rules of its
own, the slope has a standard error of several MiB an hour, and counts with two of these.

Held at any length: no request fails, descriptors stay, live files and dead rows are bounded.
Held from an hour on, and told before: memory grows by less than 1 MiB an hour, p99 by at most
10 % (median of the last third of the windows beside the first).
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import subjects

KEYS = 200_000
ROWS = 1000
LOOKUPS_PER_SECOND = 1000
LOOKUP_CLIENTS = 8
CALIBRATION_BATCHES = 200
WINDOW_SECONDS = 30
FILES_MAX = 200
DEAD_SHARE_MAX = 0.35  # merges wait from 24 % on; a purge of a large file takes seconds
DESCRIPTORS_SPARE = 8  # of connections that are just closing; the least counts: a compaction opens its files
SLOPE_MIB_PER_HOUR = 1.0
DRIFT_MAX = 1.10
LONG_SECONDS = 3600


class Verdicts:
    def __init__(self):
        self.passed = self.failed = 0

    def hold(self, good, what):
        self.passed += good
        self.failed += not good
        print(("ok   " if good else "FAIL ") + what, flush=True)

    def tell(self, good, what):
        print(("told " if good else "over ") + what, flush=True)


def anonymous_bytes(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise subjects.Failed("/proc tells no RssAnon")


class Memory:
    """Looks at the server's memory every second while the block runs."""

    def __init__(self, server):
        self.server = server
        self.resident = []
        self.allocated = []
        self.ended = threading.Event()
        self.watcher = threading.Thread(target=self.watch)

    def look(self):
        self.resident.append(anonymous_bytes(self.server.server.pid))
        self.allocated.append(metric(self.server, "sluice_memory_allocated_bytes", ""))

    def watch(self):
        while not self.ended.wait(1):
            self.look()

    def __enter__(self):
        self.look()
        self.watcher.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.watcher.join()


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def metric(server, name, labels='{table="rx"}'):
    for line in server.text("/metrics").splitlines():
        if line.startswith(f"{name}{labels} "):
            return float(line.split()[-1])
    raise subjects.Failed(f"there is no metric {name}")


class Soak:
    def __init__(self, arguments, work):
        self.programs = subjects.Programs(arguments.programs)
        program = os.environ.get("SLUICE", str(pathlib.Path(__file__).parents[2] / "build" / "sluice"))
        self.server = subjects.Sluice(program, work / "data", core=None)
        self.windows = []

    def ask(self, verb, *arguments):
        return self.programs.ask("bench_http", verb, self.server.port, self.server.token, *arguments)

    def prepare(self):
        for table in ("rx", "members"):
            definition = subprocess.run([self.programs.path("bench_http"), "definition", table],
                                        check=True, text=True, stdout=subprocess.PIPE).stdout
            self.server.define(table, definition)
            self.ask("load", table, 0, KEYS, 10000)
        whole = self.ask("upsert", CALIBRATION_BATCHES, ROWS, KEYS, 100, 1)["per_second"]
        self.batches_per_second = max(1, int(whole / ROWS / 2))
        print(f"{self.batches_per_second} upserts of {ROWS} rows and {LOOKUPS_PER_SECOND} lookups a "
              f"second, {KEYS} keys", flush=True)

    def window(self, seconds, turn):
        pid = self.server.server.pid
        with Memory(self.server) as memory:
            gets = self.programs.start("bench_http", "get", self.server.port, self.server.token,
                                       LOOKUP_CLIENTS, seconds, "/v1/members/", "?include=", KEYS, turn,
                                       LOOKUPS_PER_SECOND)
            writes = self.ask("fresh", seconds, ROWS, KEYS, self.batches_per_second)
            out, _ = gets.communicate()
        if gets.returncode != 0:
            raise subjects.Failed(f"the lookups ended with exit code {gets.returncode}")
        reads = json.loads(out)
        rows, dead = metric(self.server, "sluice_table_rows"), metric(self.server, "sluice_table_dead_rows")
        noted = {"allocated": min(memory.allocated), "resident": min(memory.resident),
                 "resident_most": max(memory.resident), "descriptors": descriptors(pid),
                 "files": metric(self.server, "sluice_table_files"), "dead": dead / (rows + dead),
                 "lookup_p99_us": reads["p99_us"], "upsert_p99_us": writes["p99_us"],
                 "failed": reads["failed"] + writes["failed"], "at": time.monotonic()}
        self.windows.append(noted)
        print(f"{noted['allocated'] / 2**20:6.1f} MiB allocated, {noted['resident'] / 2**20:.1f} to "
              f"{noted['resident_most'] / 2**20:.1f} resident, "
              f"{noted['descriptors']:4d} descriptors {noted['files']:4.0f} files "
              f"{100 * noted['dead']:4.1f} % dead, p99 lookup {reads['p99_us'] / 1000:.2f} ms, "
              f"upsert {writes['p99_us'] / 1000:.1f} ms", flush=True)

    def thirds(self, name):
        values = [window[name] for window in self.windows]
        third = max(1, len(values) // 3)
        return values[:third], values[-third:]

    def slope_mib_per_hour(self, name):
        """Least squares over the windows behind the first third, which fills caches, and its error."""
        windows = self.windows[len(self.windows) // 3:]
        if len(windows) < 3:
            return 0.0, 0.0
        at = [window["at"] / 3600 for window in windows]
        memory = [window[name] / 2**20 for window in windows]
        mean_at, mean_memory = statistics.mean(at), statistics.mean(memory)
        spread = sum((a - mean_at) ** 2 for a in at)
        slope = sum((a - mean_at) * (m - mean_memory) for a, m in zip(at, memory)) / spread
        rest = sum((m - mean_memory - slope * (a - mean_at)) ** 2 for a, m in zip(at, memory))
        return slope, (rest / (len(windows) - 2) / spread) ** 0.5

    def judge(self, verdicts, seconds):
        long = verdicts.hold if seconds >= LONG_SECONDS else verdicts.tell
        failed = sum(window["failed"] for window in self.windows)
        verdicts.hold(failed == 0, f"{failed} requests failed")
        first, last = self.thirds("descriptors")
        verdicts.hold(min(last) <= min(first) + DESCRIPTORS_SPARE,
                      f"descriptors: {min(first)} at least at first, {min(last)} at last")
        files = max(window["files"] for window in self.windows)
        verdicts.hold(files <= FILES_MAX, f"{files:.0f} live files at most ({FILES_MAX})")
        dead = max(window["dead"] for window in self.windows)
        verdicts.hold(dead <= DEAD_SHARE_MAX, f"{100 * dead:.1f} % of the rows dead at most")
        for name in ("allocated", "resident"):
            slope, error = self.slope_mib_per_hour(name)
            long(slope - 2 * error < SLOPE_MIB_PER_HOUR,
                 f"{name} memory: {slope:+.2f} MiB an hour, standard error {error:.2f}")
        for name in ("lookup_p99_us", "upsert_p99_us"):
            first, last = self.thirds(name)
            drift = statistics.median(last) / statistics.median(first)
            long(drift <= DRIFT_MAX, f"{name}: {statistics.median(first):.0f} at first, "
                                     f"{statistics.median(last):.0f} at last, {drift:.2f} times")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", required=True, help="folder of the bench programs")
    parser.add_argument("--seconds", type=int, default=7200)
    parser.add_argument("--json", help="write every window to this file")
    arguments = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="sluice-soak.", dir=os.environ.get("TMPDIR")))
    verdicts = Verdicts()
    soak = Soak(arguments, work)
    try:
        soak.prepare()
        until = time.monotonic() + arguments.seconds
        turn = 0
        while time.monotonic() < until:
            turn += 1
            soak.window(WINDOW_SECONDS, turn)
        soak.judge(verdicts, arguments.seconds)
    except (subjects.Failed, subprocess.CalledProcessError) as error:
        verdicts.hold(False, f"broke off: {error}")
    finally:
        soak.server.stop()
        if arguments.json:
            pathlib.Path(arguments.json).write_text(json.dumps(soak.windows, indent=1))
        shutil.rmtree(work, ignore_errors=True)
    print(f"{verdicts.passed} passed, {verdicts.failed} failed")
    return 1 if verdicts.failed else 0


if __name__ == "__main__":
    sys.exit(main())
