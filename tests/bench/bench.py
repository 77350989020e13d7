#!/usr/bin/env python3
"""The benchmark set: each workload on Sluice and on what a user would pick instead.

Rounds of all sides are interleaved in one run, every side is durable before it answers, the side
that serves has a core of its own. One line a pair:

    workload  size  figure  ours (least–most)  peer  theirs  ratio  target  ok|short

Workloads: W1 bulk, W2 upserts of 1,000 rows, W3 upserts of 100,000, W4 single records, W5 member
lookups, W6 lookups while ingesting, W7 decoding and validation, W8 ten thousand small commits,
W9 scans after merges, W10 restart after kill -9, fresh (posted until visible), keys (upserts, memory
and disk of a table that is as worn as it gets, up to 50 million rows).
"""
import argparse
import hashlib
import json
import mmap
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import report as reports
import subjects
from report import Pair, sized
from subjects import Failed

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PREFIX = "/v1/members/"
ROOT_ONLY = "?include=member"


class Bench:
    def __init__(self, arguments, work):
        self.quick = arguments.quick
        self.rounds = arguments.rounds
        self.sizes = [int(float(size)) for size in arguments.sizes.split(",")]
        self.members = [int(float(count)) for count in arguments.members.split(",")]
        self.keys = [int(float(count)) for count in arguments.keys.split(",")]
        self.work = pathlib.Path(work)
        self.programs = subjects.Programs(arguments.programs)
        self.sluice_program = os.environ.get("SLUICE", str(ROOT / "build" / "sluice"))
        self.python = None if self.quick else os.environ.get("BENCH_PYTHON")
        self.report = reports.Report()
        self.definitions = {name: self.definition(name) for name in ("rx", "members")}
        self.report.versions["Sluice"] = reports.commit()

    def definition(self, name):
        return subprocess.run([self.programs.path("bench_http"), "definition", name], check=True,
                              text=True, stdout=subprocess.PIPE).stdout

    def folder(self, name):
        return self.work / name

    def sluice(self, name, *flags, **options):
        server = subjects.Sluice(self.sluice_program, self.folder(name), *flags, **options)
        for table, definition in self.definitions.items():
            server.define(table, definition)
        return server

    def http(self, server, verb, *arguments):
        return self.programs.ask("bench_http", verb, server.port, server.token, *arguments)

    def peer(self, make):
        """A peer, or None with a note when it cannot run here."""
        try:
            return make()
        except (Failed, OSError, subprocess.CalledProcessError) as error:
            self.report.note(f"a peer is left out: {error}")
            return None

    def services(self, name):
        """What a team would put in front of other stores: over HTTP, asked as we are."""
        if self.python is None:
            return []
        folder = self.folder(f"{name}-deltalake")
        folder.mkdir()
        found = [self.peer(lambda: subjects.PythonService(
            "fastapi + deltalake", self.python, "--deltalake", folder, prefix=PREFIX))]
        store = self.peer(lambda: subjects.Postgres(self.folder(f"{name}-postgres")))
        if store is not None:
            self.programs.run("bench_postgres", store.connection, "setup")
            found.append(self.peer(lambda: subjects.PythonService(
                "fastapi + postgresql", self.python, "--postgresql", store.connection, prefix=PREFIX,
                store=store)))
        return [service for service in found if service is not None]

    def engine(self, name, **environment):
        """An engine of Python with a table of its own, or None."""
        if self.python is None:
            return None
        folder = self.folder(name)
        engine = self.peer(lambda: subjects.PythonTable(self.python, name, folder, **environment))
        if engine is not None:
            self.report.versions[name.split("-")[0]] = engine.ask("hello")["version"]
        return engine


def stop_all(*subjects_of_a_workload):
    """Those that are there; stopping one twice is well."""
    for subject in subjects_of_a_workload:
        if subject is not None:
            subject.stop()


def fsync_p50(folder):
    """Milliseconds of an fsync of 16 KiB, which absolute targets lean on."""
    samples = []
    path = pathlib.Path(folder) / "fsync"
    for _ in range(51):
        with open(path, "wb") as out:
            out.write(bytes(16384))
            out.flush()
            started = time.perf_counter()
            os.fsync(out.fileno())
            samples.append((time.perf_counter() - started) * 1000)
    path.unlink()
    return statistics.median(samples)


def first_touch_us():
    """Microseconds that a page of memory costs when it is touched first. Where a hypervisor takes free
    pages back it is many times what it is elsewhere, and every new page of the page cache costs it."""
    pages = 16384
    with mmap.mmap(-1, pages * mmap.PAGESIZE) as memory:
        started = time.perf_counter()
        for page in range(pages):
            memory[page * mmap.PAGESIZE] = 1
        return (time.perf_counter() - started) / pages * 1e6


def hash_speed():
    """What a core does that has nothing to wait for: a neighbour on the same core halves it."""
    block = bytes(16 << 20)
    speeds = []
    for _ in range(20):
        started = time.perf_counter()
        hashlib.sha256(block).digest()
        speeds.append(len(block) / (time.perf_counter() - started) / 1e9)
    return f"{statistics.median(speeds):.2f} GB/s ({min(speeds):.2f}–{max(speeds):.2f})"


# ---- W1, W2, W3: one table that grows -------------------------------------------------------


class Grown:
    """The same table in Sluice, PostgreSQL and SQLite, and in engines that copy on write."""

    def __init__(self, bench):
        self.bench = bench
        self.rows = 0
        self.sluice = bench.sluice("grown")
        self.postgres = bench.peer(lambda: subjects.Postgres(bench.folder("postgres")))
        if self.postgres is not None:
            bench.programs.run("bench_postgres", self.postgres.connection, "setup")
            bench.report.versions["PostgreSQL"] = self.postgres.version()
        self.sqlite = bench.folder("sqlite.db")
        self.engines = [engine for engine in (
            bench.engine("deltalake"), bench.engine("duckdb-rewrite"),
            bench.engine("spark"), bench.engine("spark-dv")) if engine is not None]
        self.services = bench.services("grown")

    def load_sluice(self, first, rows):
        return self.bench.http(self.sluice, "load", "rx", first, rows, 10000)

    def load_postgres(self, first, rows):
        return self.bench.programs.ask("bench_postgres", self.postgres.connection, "load", "rx", first,
                                       rows, 10000)

    def load_sqlite(self, first, rows):
        return self.bench.programs.ask("bench_sqlite", self.sqlite, "load", first, rows, 10000)

    def load_engines(self, first, rows):
        if not self.engines:
            return
        path = self.bench.programs.records("rx-json", first, rows, 1, self.bench.folder("rows.ndjson"))
        for engine in self.engines:
            engine.ask("create" if first == 0 else "append", str(path))
        path.unlink()

    def grow(self, rows):
        """To that many rows, in rounds that are the bulk workload."""
        step = (rows - self.rows) // self.bench.rounds
        found = {"sluice": [], "postgresql": [], "sqlite": []}
        services = self.services if rows <= SERVICE_ROWS_MAX else []
        before = {"sluice": self.sluice.process.written_bytes()}
        first = self.rows
        for _ in range(self.bench.rounds):
            found["sluice"].append(self.load_sluice(first, step)["per_second"])
            if self.postgres is not None:
                found["postgresql"].append(self.load_postgres(first, step)["per_second"])
            found["sqlite"].append(self.load_sqlite(first, step)["per_second"])
            for service in services:
                found.setdefault(service.name, []).append(
                    self.bench.http(service, "load", "rx", first, step, 10000)["per_second"])
            first += step
        size = f"{sized(self.rows)}–{sized(first)}"
        added = first - self.rows
        add = self.bench.report.add
        ours = found["sluice"]
        add(Pair("W1", size, "bulk", "records/s", ours, limit=400000))
        add(Pair("W1", size, "bulk", "records/s", ours, peer="postgresql", theirs=found["postgresql"],
                 target=4))
        add(Pair("W1", size, "bulk", "records/s", ours, peer="sqlite, no HTTP, no JSON",
                 theirs=found["sqlite"], target=0.8))
        for service in services:
            add(Pair("W1", size, "bulk", "records/s", ours, peer=service.name, theirs=found[service.name],
                     target=SERVICE_BULK_TARGETS.get(service.name)))
            service.tidy()
        self.bench.report.cost("W1", size, "sluice", self.sluice.process, added, before["sluice"])
        if self.postgres is not None:
            self.bench.report.cost("W1", size, "postgresql", self.postgres.process, 0)
        self.load_engines(self.rows, added)
        self.rows = first

    def upserts(self, workload, batches, rows, hits, engine_rounds):
        """Rounds of upserts; returns milliseconds a batch of each subject."""
        bench = self.bench
        found = {"sluice": [], "postgresql": [], "sqlite": []}
        tails = []
        for turn in range(bench.rounds):
            seed = turn + self.rows % 977
            ours = bench.http(self.sluice, "upsert", batches, rows, self.rows, hits, seed)
            found["sluice"].append(ours["p50_us"] / 1000)
            tails.append(ours["p99_us"] / 1000)
            if self.postgres is not None:
                found["postgresql"].append(bench.programs.ask(
                    "bench_postgres", self.postgres.connection, "upsert", batches, rows, self.rows, hits,
                    seed)["p50_us"] / 1000)
            found["sqlite"].append(bench.programs.ask(
                "bench_sqlite", self.sqlite, "upsert", batches, rows, self.rows, hits, seed)["p50_us"] / 1000)
            for service in self.services if self.rows <= SERVICE_ROWS_MAX else []:
                found.setdefault(service.name, []).append(bench.http(
                    service, "upsert", max(1, batches // 10), rows, self.rows, hits, seed)["p50_us"] / 1000)
        size = sized(self.rows)
        bench.report.add(Pair(workload, size, f"upsert of {rows:,}, p99", "ms", tails, less_is_better=True))
        for engine in self.engines:
            samples = []
            for turn in range(engine_rounds):
                path = self.upsert_file(rows, hits, turn)
                samples.append(engine.ask("merge", str(path))["seconds"] * 1000)
            found[engine.name] = samples
        return size, found

    def upsert_file(self, rows, hits, turn):
        """One batch for engines that read files."""
        path = self.bench.folder("upserts.ndjson")
        with open(path, "wb") as out:
            command = [self.bench.programs.path("bench_http"), "upserts", rows, self.rows, hits, turn]
            subprocess.run(list(map(str, command)), stdout=out, check=True)
        return path

    def stop(self):
        self.sluice.stop()
        if self.postgres is not None:
            self.postgres.stop()
        for peer in (*self.engines, *self.services):
            peer.stop()


SERVICE_ROWS_MAX = 1_000_000  # loading more takes them minutes
SERVICE_BULK_TARGETS = {"fastapi + deltalake": 8}
COPY_TARGETS = {1_000_000: 100, 10_000_000: 1000}
COPYING = ("deltalake", "duckdb-rewrite", "spark", "spark-dv")


def run_upserts(bench, grown):
    size, found = grown.upserts("W2", 20, 1000, 90, 1 if grown.rows >= 10_000_000 else 3)
    ours = found.pop("sluice")
    limit = 6 if grown.rows >= 10_000_000 else 4
    bench.report.add(Pair("W2", size, "upsert of 1,000, p50", "ms", ours, limit=limit, less_is_better=True))
    bench.report.point("sluice", grown.rows, statistics.median(ours))
    for name, theirs in found.items():
        if not theirs:
            continue
        target = {"postgresql": 2.5, "sqlite": 1}.get(name)
        if name in COPYING:
            target = COPY_TARGETS.get(grown.rows)
        bench.report.add(Pair("W2", size, "upsert of 1,000, p50", "ms", ours, peer=name, theirs=theirs,
                              target=target, less_is_better=True))
        bench.report.point(name, grown.rows, statistics.median(theirs))


def run_large_upserts(bench, grown):
    size, found = grown.upserts("W3", 1, 100_000, 50, 1)
    ours = found.pop("sluice")
    whole = grown.rows >= 10_000_000  # what the targets are for
    bench.report.add(Pair("W3", size, "upsert of 100,000", "ms", ours, limit=400, less_is_better=True))
    for name, theirs in found.items():
        if theirs:
            bench.report.add(Pair("W3", size, "upsert of 100,000", "ms", ours, peer=name, theirs=theirs,
                                  target=20 if name == "deltalake" and whole else None,
                                  less_is_better=True))


def run_growing(bench):
    grown = Grown(bench)
    try:
        curve = {}
        for rows in bench.sizes:
            grown.grow(rows)
            run_upserts(bench, grown)
            curve[rows] = bench.report.curves["sluice"][grown.rows]
        if 1_000_000 in curve and 10_000_000 in curve:
            bench.report.add(Pair("W2", "1M → 10M", "growth of p50", "times",
                                  [curve[10_000_000] / curve[1_000_000]], limit=1.5, less_is_better=True))
        run_large_upserts(bench, grown)
    finally:
        grown.stop()


# ---- W4: single records ------------------------------------------------------------------------


def run_trickle(bench):
    server = bench.sluice("trickle")
    redis = bench.peer(lambda: subjects.Redis(bench.folder("redis-trickle")))
    postgres = bench.peer(lambda: subjects.Postgres(bench.folder("postgres-trickle")))
    keys = 200_000 if bench.quick else 1_000_000
    try:
        bench.http(server, "load", "rx", 0, keys, 10000)
        if postgres is not None:
            bench.programs.run("bench_postgres", postgres.connection, "setup")
            bench.programs.ask("bench_postgres", postgres.connection, "load", "rx", 0, keys, 10000)
        found = {"sluice": [], "redis": [], "postgresql": []}
        commits = []
        for turn in range(bench.rounds):
            version, at = server.version("rx"), time.monotonic()
            found["sluice"].append(bench.http(server, "trickle", 64, 3, keys, turn)["per_second"])
            commits.append((server.version("rx") - version) / (time.monotonic() - at))
            if redis is not None:
                found["redis"].append(redis.run(64, 50_000, keys, "-t", "set", "-d", "455")["per_second"])
            if postgres is not None:
                found["postgresql"].append(bench.programs.ask(
                    "bench_postgres", postgres.connection, "trickle", 64, 3, keys, turn)["per_second"])
        size = sized(keys)
        ours = found["sluice"]
        bench.report.add(Pair("W4", size, "single records, 64 clients", "acknowledged/s", ours, limit=15000))
        for name in ("redis", "postgresql"):
            if found[name]:
                bench.report.add(Pair("W4", size, "single records, 64 clients", "acknowledged/s", ours,
                                      peer=f"{name}, own protocol", theirs=found[name]))
        bench.report.add(Pair("W4", size, "commits under load", "commits/s", commits, limit=5,
                              less_is_better=True))
        stop_all(redis, postgres)  # what they still write behind would be waited for here
        rate = int(statistics.median(ours) / 2)
        waits = [bench.http(server, "trickle", 64, 3, keys, turn, rate) for turn in range(bench.rounds)]
        bench.report.add(Pair("W4", size, f"open loop at {rate:,}/s, p50", "ms",
                              [wait["p50_us"] / 1000 for wait in waits], limit=3, less_is_better=True))
        bench.report.add(Pair("W4", size, f"open loop at {rate:,}/s, p99", "ms",
                              [wait["p99_us"] / 1000 for wait in waits], limit=10, less_is_better=True))
        bench.report.cost("W4", size, "sluice", server.process, 0)
    finally:
        stop_all(server, redis, postgres)


# ---- W5: lookups -------------------------------------------------------------------------------


def run_lookups(bench, members):
    server = bench.sluice(f"lookups-{members}", "--network-threads", "1")
    nothing = subjects.Helper("do-nothing", [bench.programs.path("bench_nothing"), 1])
    trail = bench.folder(f"nothing-{members}")
    trail.mkdir(mode=0o700)
    audited = subjects.Helper("do-nothing with the audit record",
                              [bench.programs.path("bench_nothing"), 1, trail])
    epoll = subjects.Helper("bare epoll", [bench.programs.path("bench_epoll")])
    redis = bench.peer(lambda: subjects.Redis(bench.folder(f"redis-{members}")))
    postgres = bench.peer(lambda: subjects.Postgres(bench.folder(f"postgres-{members}")))
    services = []
    size = sized(members)
    try:
        bench.http(server, "load", "members", 0, members, 10000)
        bench.http(server, "load", "rx", 0, min(members, 1_000_000), 10000)
        open_loop(bench, size, members, server)  # before services take gigabytes from the page cache
        if postgres is not None:
            bench.programs.run("bench_postgres", postgres.connection, "setup")
            bench.programs.ask("bench_postgres", postgres.connection, "load", "members", 0, members, 10000)
        if redis is not None:
            redis.run(50, members, members, "-P", "16", "-t", "set", "-d", "300")
        if bench.python is not None and members <= DICTIONARY_MEMBERS_MAX:
            path = bench.programs.records("member-json", 0, members, 1, bench.folder("members.ndjson"))
            service = bench.peer(lambda: subjects.PythonService(
                "fastapi dictionary", bench.python, "--dictionary", path, prefix="/member/"))
            if service is not None:
                services.append(service)
            stores = bench.services(f"lookups-{members}")
            services.extend(stores)
            for store in stores:
                bench.http(store, "load", "members", 0, members, 10000)
                store.tidy()
        for clients in ([16] if bench.quick else [1, 16, 64]):
            lookups_at(bench, size, members, clients, server, [nothing, audited, epoll], services, redis,
                       postgres)
    finally:
        stop_all(server, nothing, audited, epoll, redis, postgres, *services)


DICTIONARY_MEMBERS_MAX = SERVICE_ROWS_MAX  # a dictionary of Python takes a kilobyte a member
LOOKUP_TARGETS = {"do-nothing with the audit record": 0.9, "fastapi dictionary": 3, "redis": 0.5,
                  "fastapi + deltalake": 100}


def lookups_at(bench, size, members, clients, server, floors, services, redis, postgres):
    seconds = 1 if bench.quick else 2
    found = {"sluice": [], "whole": []}
    latencies = []
    for turn in range(bench.rounds):
        ours = bench.http(server, "get", clients, seconds, PREFIX, ROOT_ONLY, members, turn)
        found["sluice"].append(ours["per_second"])
        latencies.append(ours["p50_us"] / 1000)
        found["whole"].append(bench.http(server, "get", clients, seconds, PREFIX, "",
                                         min(members, 1_000_000) // 10, turn)["per_second"])
        for peer in [*floors, *services]:
            path = peer.prefix if peer in services else PREFIX
            found.setdefault(peer.name, []).append(bench.programs.ask(
                "bench_http", "get", peer.port, "none", clients, seconds, path, "", members,
                turn)["per_second"])
        if redis is not None:
            found.setdefault("redis", []).append(
                redis.run(clients, 40_000 * seconds, members, "-t", "get")["per_second"])
        if postgres is not None:
            found.setdefault("postgresql, own protocol", []).append(bench.programs.ask(
                "bench_postgres", postgres.connection, "get", clients, seconds, members, turn)["per_second"])
    ours, whole = found.pop("sluice"), found.pop("whole")
    figure = f"member lookup, {clients} connections"
    if clients == 16:
        bench.report.add(Pair("W5", size, figure, "lookups/s", ours, limit=45000))
        bench.report.add(Pair("W5", size, f"{figure}, p50", "ms", latencies, limit=0.15 if clients == 1 else None,
                              less_is_better=True))
    for name, theirs in found.items():
        bench.report.add(Pair("W5", size, figure, "lookups/s", ours, peer=name, theirs=theirs,
                              target=LOOKUP_TARGETS.get(name) if clients == 16 else None))
    floor = "do-nothing with the audit record"
    bench.report.add(Pair("W5", size, f"with 10 prescriptions, {clients} connections", "lookups/s", whole,
                          peer=floor, theirs=found[floor], target=0.7 if clients == 16 else None))


def open_loop(bench, size, members, server):
    rate = 10_000
    waits = [bench.http(server, "get", 16, 2, PREFIX, ROOT_ONLY, members, turn, rate)
             for turn in range(bench.rounds)]
    bench.report.add(Pair("W5", size, f"open loop at {rate:,}/s, p50", "ms",
                          [wait["p50_us"] / 1000 for wait in waits], less_is_better=True))
    bench.report.add(Pair("W5", size, f"open loop at {rate:,}/s, p99", "ms",
                          [wait["p99_us"] / 1000 for wait in waits], limit=1, less_is_better=True))
    bench.report.cost("W5", size, "sluice", server.process, 0)


# ---- W6 and freshness ------------------------------------------------------------------------


def run_mixed(bench):
    """Both cores are the server's here: it has two kinds of work. The load runs beside it."""
    server = bench.sluice("mixed", core=None)
    keys = 200_000 if bench.quick else 1_000_000
    rows = 400_000 if bench.quick else 1_000_000
    size = sized(keys)
    try:
        bench.http(server, "load", "members", 0, keys, 10000)
        bench.http(server, "load", "rx", 0, keys, 10000)
        tails, alone, beside = [], [], []
        for turn in range(bench.rounds):
            alone.append(bench.http(server, "load", "rx", 0, rows, 10000)["per_second"])
            load = bench.programs.start("bench_http", "load", server.port, server.token, "rx", 0,
                                        rows, 10000, 100_000)
            wait = bench.http(server, "get", 8, max(1, rows // 100_000 - 1), PREFIX, ROOT_ONLY, keys, turn, 1000)
            load.communicate()
            tails.append(wait["p99_us"] / 1000)
            gets = bench.programs.start("bench_http", "get", server.port, server.token, 8, 60, PREFIX,
                                        ROOT_ONLY, keys, turn, 1000)
            beside.append(bench.http(server, "load", "rx", 0, rows, 10000)["per_second"])
            gets.terminate()
            gets.communicate()
        bench.report.add(Pair("W6", size, "lookups at 1,000/s while 100,000 records/s come, p99", "ms", tails,
                              limit=3, less_is_better=True))
        loss = [100 * (1 - b / a) for a, b in zip(alone, beside)]
        bench.report.add(Pair("W6", size, "bulk lost to lookups", "%", loss, limit=15, less_is_better=True))
        half = max(1, int(statistics.median(alone) / 2 / 1000))
        waits = [bench.http(server, "fresh", 3, 1000, keys, min(half, 50)) for _ in range(bench.rounds)]
        bench.report.add(Pair("fresh", size, f"{min(half, 50) * 1000:,} records/s, posted until visible, p99",
                              "ms", [wait["p99_us"] / 1000 for wait in waits], limit=400, less_is_better=True))
    finally:
        server.stop()


# ---- W7: decoding -----------------------------------------------------------------------------


def run_decoding(bench):
    done = subprocess.run(subjects.on_core(subjects.SERVER_CORE,
                                           [bench.programs.path("bench_decode"), bench.rounds, "--json"]),
                          check=True, text=True, stdout=subprocess.PIPE)
    found = {line["what"]: line for line in map(json.loads, done.stdout.splitlines())}
    ndjson = found["ndjson"]["mb_per_second"]
    add = bench.report.add
    add(Pair("W7", "bodies of 4.5 MB", "NDJSON to columns, validated", "MB/s", ndjson, limit=500))
    add(Pair("W7", "bodies of 4.5 MB", "JSON array beside NDJSON", "MB/s", found["json array"]["mb_per_second"],
             peer="NDJSON", theirs=ndjson, target=0.8))
    add(Pair("W7", "bodies of 4.5 MB", "CSV beside NDJSON", "records/s", found["csv"]["records_per_second"],
             peer="NDJSON", theirs=found["ndjson"]["records_per_second"], target=1))
    add(Pair("W7", "bodies of 4.5 MB", "rules alone", "records/s", found["rules"]["records_per_second"],
             limit=4_000_000))


# ---- W8: many small commits --------------------------------------------------------------------


def run_log_age(bench):
    server = bench.sluice("age")
    commits = 1000 if bench.quick else 10_000
    piece = commits // 10
    try:
        pieces = [bench.http(server, "upsert", piece, 1, 1000, 50, turn)["p50_us"] / 1000
                  for turn in range(10)]
        bench.report.add(Pair("W8", f"{sized(commits)} commits", "commit p50, last tenth beside first", "times",
                              [pieces[-1] / pieces[0]], limit=1.2, less_is_better=True))
        folder = server.table_folder("rx")
        opens = []
        for _ in range(bench.rounds):
            started = time.perf_counter()
            subprocess.run(subjects.on_core(subjects.SERVER_CORE,
                                            [bench.sluice_program, "table", "schema", folder]),
                           check=True, stdout=subprocess.DEVNULL)
            opens.append((time.perf_counter() - started) * 1000)
        bench.report.add(Pair("W8", f"{sized(commits)} commits", "opening the table, the program's start too",
                              "ms", opens, limit=50, less_is_better=True))
        engine = bench.engine("deltalake")
        if engine is not None:
            theirs = [engine.ask("open", str(folder))["seconds"] * 1000 for _ in range(bench.rounds)]
            bench.report.add(Pair("W8", f"{sized(commits)} commits", "opening the table", "ms", opens,
                                  peer="deltalake", theirs=theirs, less_is_better=True))
            engine.stop()
    finally:
        server.stop()


# ---- W9: scans after merges ------------------------------------------------------------------


def run_scans(bench):
    engine = bench.engine("duckdb-rewrite")
    if engine is None:
        return
    server = bench.sluice("scans")
    keys = 1_000_000
    try:
        bench.http(server, "load", "rx", 0, keys, 10000)
        folder = server.table_folder("rx")
        bench.http(server, "upsert", 1000, 1000, keys, 90, 1)
        merged = [engine.ask("scan", str(folder))["seconds"] for _ in range(bench.rounds)]
        subprocess.run([bench.sluice_program, "table", "optimize", "rx", "--data", server.data], check=True,
                       stdout=subprocess.DEVNULL)
        fresh = [engine.ask("scan", str(folder))["seconds"] for _ in range(bench.rounds)]
        bench.report.add(Pair("W9", sized(keys), "DuckDB's scan after 1,000 upserts beside after optimize", "s",
                              merged, peer="compacted", theirs=fresh, target=1 / 1.5, less_is_better=True))
    finally:
        server.stop()
        engine.stop()


# ---- jobs --------------------------------------------------------------------------------------

JOBS_TABLE = """{"schema":{"fields":[{"name":"id","type":"string","nullable":false},
{"name":"n","type":"integer"},{"name":"name","type":"string"},{"name":"amount","type":"decimal(10,2)"},
{"name":"day","type":"date"},{"name":"note","type":"string"}]},"key":["id"],
"lookup":[{"entity":"member","column":"id","as":"member"}]}"""


def run_jobs(bench):
    """What a thousand jobs a minute and fifty long runs cost lookups and batches."""
    server = subjects.Sluice(bench.sluice_program, bench.folder("jobs"), "--outgoing-allow", "127.0.0.1",
                             "--task-pools", "slow=50", core=None)
    try:
        server.define("bench", JOBS_TABLE)
        done = subprocess.run([str(bench.programs.path("bench_jobs")), str(server.port), server.token,
                               "1000", "50", "30", "2"], stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            raise Failed("bench_jobs: something went wrong with the runs")
        found = {line["what"]: line for line in map(json.loads, done.stdout.splitlines())}
        for name, what in (("lookup_p99", "lookups, p99"), ("batch_p99", "batches of 100, p99")):
            bench.report.add(Pair("jobs", "1,000 a minute", f"{what} beside idle", "times",
                                  [found["loaded/idle"][name]], less_is_better=True))
    finally:
        server.stop()


# ---- W10: restart ------------------------------------------------------------------------------


def run_restart(bench):
    server = bench.sluice("restart")
    keys = 1_000_000 if bench.quick else 10_000_000
    try:
        bench.http(server, "load", "members", 0, keys, 10000)
        seconds = []
        for turn in range(bench.rounds):
            load = bench.programs.start("bench_http", "load", server.port, server.token, "members", 0, keys, 10000)
            time.sleep(1)
            server.kill()
            load.terminate()
            load.communicate()
            started = time.perf_counter()
            server.start()
            server.call("GET", f"{PREFIX}M{turn:09d}{ROOT_ONLY}")
            seconds.append(time.perf_counter() - started)
        bench.report.add(Pair("W10", f"{sized(keys)} keys", "kill -9 under load, start, first lookup", "s", seconds,
                              limit=3, less_is_better=True))
        bench.report.cost("W10", f"{sized(keys)} keys", "sluice", server.process, 0)
    finally:
        server.stop()


# ---- keys: a table at steady state, as it grows ---------------------------------------------


WORN_PERCENT = 50  # of the rows are replaced before a table is asked
DEAD_PERCENT_MAX = 25
DEAD_PERCENT_LEFT = 20  # compaction leaves them dead, however long one waits beside merges
SETTLE_SECONDS_MAX = 900


def dead_percent(server, keys):
    dead = gauge(server, "sluice_table_dead_rows")
    return 100 * dead / (keys + dead)


def wear(bench, server, keys):
    """Replace rows as fast as it goes, then wait until as many are dead as compaction leaves; seconds waited."""
    batches = max(1, keys * WORN_PERCENT // 100 // 100_000)
    bench.http(server, "upsert", batches, 100_000, keys, 100, 7)
    started = time.monotonic()
    while dead_percent(server, keys) > DEAD_PERCENT_LEFT:
        if time.monotonic() - started > SETTLE_SECONDS_MAX:
            raise Failed(f"dead rows stay above {DEAD_PERCENT_LEFT} %")
        time.sleep(0.1)
    return time.monotonic() - started


def gauge(server, name):
    """Of the table `rx`, and of its newest version."""
    def of(what):
        found = [line.rsplit(" ", 1)[1] for line in server.text("/metrics").splitlines()
                 if line.startswith(f'{what}{{table="rx"}}')]
        return int(found[0]) if found else -1
    subjects.wait_for("the gauges", lambda: of("sluice_snapshot_version") == server.version("rx"))
    return of(name)


def stored_bytes(server, pattern):
    return sum(path.stat().st_size for path in (server.data / "index").glob(f"*/{pattern}"))


def written_kinds(server):
    """Bytes that were written for the table `rx`, by what they are: nothing is removed before it is old."""
    found = {"data files": 0, "deletion vectors": 0, "log": 0}
    for path in server.table_folder("rx").rglob("*"):
        if path.is_file():
            kind = ("log" if path.parent.name == "_delta_log" else
                    "deletion vectors" if path.suffix == ".bin" else "data files")
            found[kind] += path.stat().st_size
    return found


def memory_of(server):
    """Resident: memory of its own, and mapped files that the kernel may take back."""
    status = pathlib.Path(f"/proc/{server.server.pid}/status").read_text()
    return {name: int(status.split(name + ":")[1].split()[0]) * 1024 for name in ("RssAnon", "RssFile")}


def ask_for_key(server, key):
    server.call("POST", "/v1/tables/rx/lookup", json.dumps({"keys": [{"prescription_id": f"RX{key:012d}"}]}))


def run_keys(bench):
    server = bench.sluice("keys")
    add = bench.report.add
    found = {}
    rows = 0
    try:
        for keys in bench.keys:
            size = sized(keys)
            bench.http(server, "load", "rx", rows, keys - rows, 10000)
            rows = keys
            add(Pair("keys", size, f"{WORN_PERCENT} % replaced at once, until {DEAD_PERCENT_LEFT} % are dead", "s",
                     [wear(bench, server, keys)], less_is_better=True))
            before = written_kinds(server)
            samples = [bench.http(server, "upsert", 40, 1000, keys, 90, turn)["p50_us"] / 1000
                       for turn in range(bench.rounds)]
            written = {kind: total - before[kind] for kind, total in written_kinds(server).items()}
            found[keys] = statistics.median(samples)
            dead = dead_percent(server, keys)
            limit = {1_000_000: 4, 10_000_000: 6}.get(keys)
            add(Pair("keys", size, "upsert of 1,000 into a worn table, p50", "ms", samples, limit=limit,
                     less_is_better=True))
            bench.report.point("sluice, worn", keys, found[keys])
            add(Pair("keys", size, "dead rows after that", "%", [dead], limit=DEAD_PERCENT_MAX,
                     less_is_better=True))
            for kind, total in written.items():
                add(Pair("keys", size, f"written for an upsert of 1,000: {kind}", "KB",
                         [total / 1000 / 40 / bench.rounds], less_is_better=True))
            server.stop()
            add(Pair("keys", size, "index of keys on disk", "bytes a key",
                     [stored_bytes(server, "run-0-*.run") / keys], less_is_better=True))
            add(Pair("keys", size, "row images on disk", "bytes a row",
                     [stored_bytes(server, "images-*.img") / keys], less_is_better=True))
            started = time.perf_counter()
            server.start()
            ask_for_key(server, 1)
            seconds = time.perf_counter() - started
            add(Pair("keys", size, "start to first lookup", "s", [seconds],
                     limit=3 if keys <= 10_000_000 else None, less_is_better=True))
            add(Pair("keys", size, "own memory after it", "bytes a key",
                     [memory_of(server)["RssAnon"] / keys], less_is_better=True))
            for key in range(0, keys, max(1, keys // 2000)):
                ask_for_key(server, key)
            resident = memory_of(server)
            add(Pair("keys", size, "own memory and mapped files after 2,000 lookups", "bytes a key",
                     [sum(resident.values()) / keys], less_is_better=True))
        for small, large, limit in ((1_000_000, 10_000_000, 1.5), (1_000_000, 50_000_000, 2.5)):
            if small in found and large in found:
                add(Pair("keys", f"{sized(small)} → {sized(large)}", "growth of p50, worn", "times",
                         [found[large] / found[small]], limit=limit, less_is_better=True))
    finally:
        server.stop()


def workloads(bench):
    return {
        "growing": lambda: run_growing(bench),
        "W4": lambda: run_trickle(bench),
        "W5": lambda: [run_lookups(bench, count) for count in bench.members],
        "W6": lambda: run_mixed(bench),
        "W7": lambda: run_decoding(bench),
        "W8": lambda: run_log_age(bench),
        "W9": lambda: run_scans(bench),
        "W10": lambda: run_restart(bench),
        **({} if bench.quick else {"keys": lambda: run_keys(bench)}),
        **({} if bench.quick else {"jobs": lambda: run_jobs(bench)}),
    }


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", required=True, help="folder of the bench programs")
    parser.add_argument("--quick", action="store_true", help="small sizes and Debian's peers only")
    parser.add_argument("--only", help="workloads, with commas between; W1 to W3 are `growing`")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", help="rows of the growing table, with commas between")
    parser.add_argument("--members", help="members of the lookups, with commas between")
    parser.add_argument("--keys", default="1000000,10000000,50000000",
                        help="rows of the worn table, with commas between; 50 million take 40 GB of disk")
    parser.add_argument("--json", help="write all figures to this file")
    parser.add_argument("--results", help="write RESULTS.md and its plot here")
    arguments = parser.parse_args()
    arguments.sizes = arguments.sizes or ("200000" if arguments.quick else "100000,1000000,10000000")
    arguments.members = arguments.members or ("200000" if arguments.quick else "1000000,10000000")
    return arguments


def main():
    arguments = parse()
    work = tempfile.mkdtemp(prefix="sluice-bench.", dir=os.environ.get("TMPDIR"))
    failed = 0
    try:
        bench = Bench(arguments, work)
        bench.report.note(f"fsync of 16 KiB: {fsync_p50(work):.2f} ms (absolute targets are meant for ≤ 0.3 ms)")
        bench.report.note(f"first touch of a page of memory: {first_touch_us():.1f} µs (0.3 µs where nobody takes "
                          f"free memory back; Parquet, row images and the index are new pages)")
        bench.report.note(f"SHA-256 on one core: {hash_speed()} (1.7 GB/s when no neighbour shares the core; figures "
                          f"without a ratio are to be read with it)")
        bench.report.note(f"load of the machine before: {os.getloadavg()[0]:.1f}")
        wanted = arguments.only.split(",") if arguments.only else None
        for name, run in workloads(bench).items():
            if wanted is not None and name not in wanted:
                continue
            started = time.monotonic()
            try:
                run()
            except (Failed, subprocess.CalledProcessError) as error:
                failed += 1
                bench.report.note(f"{name} broke off: {error}")
            print(f"{name} took {time.monotonic() - started:.0f} s", flush=True)
        bench.report.note(f"SHA-256 on one core afterwards: {hash_speed()}")
        bench.report.note(f"load of the machine after: {os.getloadavg()[0]:.1f}")
        if arguments.json:
            bench.report.write_json(arguments.json)
        if arguments.results:
            path = pathlib.Path(arguments.results)
            asked = [f"--{name} {value}" for name, value in
                     (("only", arguments.only), ("sizes", arguments.sizes), ("members", arguments.members), ("keys", arguments.keys))
                     if value is not None]
            bench.report.write_results(path, " ".join(["tests/bench/run.sh OUT", *asked]))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
