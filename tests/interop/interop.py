"""Post seeded histories to a Sluice, then read its tables with other engines, read
theirs, and let both write one table in turn.

Each cell of the report is one table read by one engine and compared row by row
with the model. A cell that an engine cannot run for a reason of its own says
"unverified" with the engine's words, and is counted as neither passed nor failed.
The last line is "N passed, N failed".
"""

import base64
import datetime
import decimal
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import duckdb
import duckdb_extension_delta
import polars
import pyarrow
from deltalake import DeltaTable, QueryBuilder, write_deltalake

SLUICE = os.environ["SLUICE"]
SEED = int(os.environ.get("INTEROP_SEED", "20261123"))
COMMITS = int(os.environ.get("INTEROP_COMMITS", "40"))
KEYS = 500

FIELDS = [
    {"name": "id", "type": "string", "nullable": False},
    {"name": "part", "type": "string"},
    {"name": "small", "type": "integer"},
    {"name": "big", "type": "long"},
    {"name": "ratio", "type": "double"},
    {"name": "flag", "type": "boolean"},
    {"name": "day", "type": "date"},
    {"name": "moment", "type": "timestamp"},
    {"name": "money", "type": "decimal(10,2)"},
    {"name": "huge", "type": "decimal(38,6)"},
    {"name": "raw", "type": "binary"},
    {"name": "seq", "type": "long", "nullable": False},
]
NAMES = [field["name"] for field in FIELDS]

TABLES = {
    "dv": {"merge": "deletion-vectors", "key": ["id"], "sequence_by": "seq"},
    "dv_parts": {"merge": "deletion-vectors", "key": ["id"], "sequence_by": "seq", "partition_by": ["part"]},
    "dv_odd_parts": {"merge": "deletion-vectors", "key": ["id"], "sequence_by": "seq", "partition_by": ["part"]},
    "cow": {"merge": "copy-on-write", "key": ["id"], "sequence_by": "seq"},
    "cow_parts": {"merge": "copy-on-write", "key": ["id"], "partition_by": ["part"]},
    "dv_feed": {"merge": "deletion-vectors", "key": ["id"], "sequence_by": "seq", "partition_by": ["part"], "change_feed": True},
    "cow_feed": {"merge": "copy-on-write", "key": ["id"], "change_feed": True},
    "appended": {"merge": "append"},
    "appended_parts": {"merge": "append", "partition_by": ["part"]},
    "appended_odd_parts": {"merge": "append", "partition_by": ["part"]},
}
PLAIN_PARTS = [None, "a", "bb", "c"]
ODD_PARTS = [None, "a", "b b", "c/d=é%"]


class Server:
    """One `sluice serve` on a data directory of its own."""

    def __init__(self, data):
        self.data = data
        self.process = subprocess.Popen(
            [SLUICE, "serve", "--data", data, "--listen", "127.0.0.1:0"],
            stderr=open(os.path.join(os.path.dirname(data), "log"), "wb"),
        )
        endpoint = pathlib.Path(data, "endpoint")
        for _ in range(1000):
            if endpoint.exists() and endpoint.stat().st_size > 0:
                break
            if self.process.poll() is not None:
                raise SystemExit("the server ended at start; see its log")
            time.sleep(0.01)
        self.url = endpoint.read_text().strip()
        self.token = pathlib.Path(data, "admin.token").read_text().strip()

    def call(self, method, path, body=None, headers=None):
        request = urllib.request.Request(self.url + path, data=body, method=method)
        request.add_header("Authorization", "Bearer " + self.token)
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{method} {path}: {error.code} {error.read().decode()}")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(timeout=30) != 0:
            raise SystemExit(f"the server exited with {self.process.returncode}")


def random_text(rng):
    return rng.choice(["", "a", "Zoë", "nul?", "x" * 40, "日本", "it's \"quoted\"", "A=1/%2F b"])


def random_row(rng, key, seq, parts):
    """A row as Python values; the JSON form is made by to_json."""

    def maybe(value):
        return None if rng.random() < 0.15 else value

    return {
        "id": key,
        "part": rng.choice(parts),
        "small": maybe(rng.randint(-(2**31), 2**31 - 1)),
        "big": maybe(rng.randint(-(2**63), 2**63 - 1)),
        "ratio": maybe(rng.choice([0.0, -1.5, 1e300, 1e-300, rng.random()])),
        "flag": maybe(rng.random() < 0.5),
        "day": maybe(datetime.date(1900, 1, 1) + datetime.timedelta(days=rng.randint(0, 80000))),
        "moment": maybe(
            datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
            + datetime.timedelta(microseconds=rng.randint(-(10**15), 2 * 10**15))
        ),
        "money": maybe(decimal.Decimal(rng.randint(-(10**10) + 1, 10**10 - 1)).scaleb(-2)),
        "huge": maybe(decimal.Decimal(rng.randint(-(10**37), 10**37)).scaleb(-6)),
        "raw": maybe(random_text(rng).encode() + bytes([rng.randint(0, 255)])),
        "seq": seq,
    }


def to_json(row, operation):
    record = {"_op": operation} if operation else {}
    for name, value in row.items():
        if isinstance(value, (datetime.date, datetime.datetime)):
            value = value.isoformat().replace("+00:00", "Z")
        elif isinstance(value, decimal.Decimal):
            value = format(value, "f")
        elif isinstance(value, bytes):
            value = base64.b64encode(value).decode()
        record[name] = value
    return json.dumps(record, ensure_ascii=False)


def history(rng, name, definition, server):
    """Post commits of inserts, upserts, patches and deletes; return the model's rows."""
    keyed = "key" in definition
    has_sequence = "sequence_by" in definition
    model, appended, sequence = {}, [], 0
    parts = ODD_PARTS if "odd" in name else PLAIN_PARTS
    for commit in range(COMMITS):
        lines = []
        for _ in range(rng.randint(1, 60)):
            key = f"k{rng.randint(0, KEYS)}"
            sequence += 1
            late = has_sequence and rng.random() < 0.2
            seq = max(1, sequence - rng.randint(50, 500)) if late else sequence
            row = random_row(rng, key, seq, parts)
            if not keyed:
                appended.append(row)
                lines.append(to_json(row, None))
                continue
            operation = rng.choices(["upsert", "delete", "patch"], [7, 2, 1])[0]
            known = model.get(key)
            wins = known is None or not has_sequence or seq >= known["seq"]
            if operation == "patch":
                row = {field: row[field] for field in ("id", "small", "seq")}
            elif operation == "delete":
                row = {field: row[field] for field in ("id", "seq")}
            lines.append(to_json(row, operation))
            if not wins:
                continue
            if operation == "delete":
                model[key] = {"seq": seq, "gone": True}
            elif operation == "patch" and known is not None and "gone" not in known:
                model[key] = {**known, **row}
            else:
                model[key] = {**dict.fromkeys(NAMES), **row}
        server.call(
            "POST",
            f"/v1/tables/{name}/batches",
            "\n".join(lines).encode(),
            {"Content-Type": "application/x-ndjson", "Prefer": "wait=60", "Idempotency-Key": f"{name}-{commit}"},
        )
    rows = appended if not keyed else [row for row in model.values() if "gone" not in row]
    return rows


def canonical(rows):
    """Rows of any engine as sorted tuples that compare exactly."""

    def value(item):
        if isinstance(item, datetime.datetime):
            item = item if item.tzinfo else item.replace(tzinfo=datetime.timezone.utc)
            return ("t", int((item - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)) / datetime.timedelta(microseconds=1)))
        if isinstance(item, datetime.date):
            return ("d", item.toordinal())
        if isinstance(item, decimal.Decimal):
            return ("n", str(item.normalize()))
        if isinstance(item, (bytes, bytearray, memoryview)):
            return ("b", bytes(item).hex())
        return ("v", repr(item))

    def cell(name, item):
        # Delta cannot tell an empty partition value from null
        return value(None if name == "part" and item == "" else item)

    return sorted(tuple(cell(name, row[name]) for name in NAMES) for row in rows)


def read_deltalake(path, version=None):
    table = DeltaTable(path, version=version)
    batches = QueryBuilder().register("t", table).execute("select * from t")
    return pyarrow.table(batches.read_all() if hasattr(batches, "read_all") else batches).to_pylist()


def read_duckdb(path):
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    connection.execute("set timezone='UTC'")
    folder = pathlib.Path(duckdb_extension_delta.__file__).parent
    extension = next(folder.glob("extensions/*/delta.duckdb_extension"))
    connection.execute(f"load '{extension}'")
    cursor = connection.execute(f"select * from delta_scan('{path}')")
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row)) for row in cursor.fetchall()]


def read_polars(path):
    return polars.scan_delta(path).collect().to_dicts()


ENGINES = {"deltalake": read_deltalake, "duckdb": read_duckdb, "polars": read_polars}


def versions():
    import importlib.metadata

    return {name: importlib.metadata.version(name) for name in ENGINES}


def compare(got, expected):
    if got == expected:
        return None
    missing = len(set(expected) - set(got))
    strange = len(set(got) - set(expected))
    return f"{len(got)} rows instead of {len(expected)}: {missing} missing, {strange} strange"


def count(passed, failed, cell, difference):
    if difference is None:
        print(f"ok   {cell}")
        return passed + 1, failed
    print(f"FAIL {cell}: {difference}")
    return passed, failed + 1


# Reader defects that are known: (engine, version, table) → why it is not counted.
KNOWN_DEFECTS = {
    ("polars", "2.1.0", "dv_odd_parts"): "does not apply deletion vectors of files whose path holds an escaped"
    " character (deltalake and duckdb read the same table right)",
}


# ---- their tables, read by us ----


def from_json(value, kind):
    """A value of `sluice table rows` as pyarrow's to_pylist has it."""
    if value is None:
        return None
    if pyarrow.types.is_struct(kind):
        return {field.name: from_json(value[field.name], field.type) for field in kind}
    if pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind):
        return [from_json(item, kind.value_type) for item in value]
    if pyarrow.types.is_map(kind):
        return sorted((key, from_json(item, kind.item_type)) for key, item in value.items())
    if pyarrow.types.is_decimal(kind):
        return decimal.Decimal(value)
    if pyarrow.types.is_floating(kind):
        return float(value)
    if pyarrow.types.is_date(kind):
        return datetime.date.fromisoformat(value)
    if pyarrow.types.is_timestamp(kind):
        return datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
    if pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind):
        return base64.b64decode(value)
    return value


def plain(value):
    """Any value as text that compares exactly; entries of maps in one order."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}:{plain(value[name])}" for name in sorted(value)) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(plain(item) for item in value) + "]"
    if isinstance(value, datetime.datetime):
        value = value if value.tzinfo else value.replace(tzinfo=datetime.timezone.utc)
        return value.astimezone(datetime.timezone.utc).isoformat()
    if isinstance(value, decimal.Decimal):
        return str(value.normalize())
    return repr(value)


def sorted_maps(value):
    """to_pylist has maps as lists of pairs in the file's order."""
    if isinstance(value, list) and value and all(isinstance(item, tuple) for item in value):
        return sorted((key, sorted_maps(item)) for key, item in value)
    if isinstance(value, list):
        return [sorted_maps(item) for item in value]
    if isinstance(value, dict):
        return {name: sorted_maps(item) for name, item in value.items()}
    return value


def their_rows(rng, first, count):
    """Rows with every type that deltalake writes, nested ones too."""

    def maybe(value):
        return None if rng.random() < 0.2 else value

    rows = []
    for number in range(first, first + count):
        row = random_row(rng, f"k{number}", number, PLAIN_PARTS)
        row["person"] = maybe({"name": maybe(random_text(rng)), "born": maybe(datetime.date(1950, 1, number % 28 + 1))})
        row["visits"] = maybe([maybe({"at": number, "notes": [random_text(rng)] * (number % 3)}) for _ in range(number % 4)])
        row["counts"] = maybe([(f"c{i}", number * i) for i in range(number % 3)])
        rows.append(row)
    return rows


THEIR_SCHEMA = pyarrow.schema(
    [
        ("id", pyarrow.string()),
        ("part", pyarrow.string()),
        ("small", pyarrow.int32()),
        ("big", pyarrow.int64()),
        ("ratio", pyarrow.float64()),
        ("flag", pyarrow.bool_()),
        ("day", pyarrow.date32()),
        ("moment", pyarrow.timestamp("us", "UTC")),
        ("money", pyarrow.decimal128(10, 2)),
        ("huge", pyarrow.decimal128(38, 6)),
        ("raw", pyarrow.binary()),
        ("seq", pyarrow.int64()),
        ("person", pyarrow.struct([("name", pyarrow.string()), ("born", pyarrow.date32())])),
        ("visits", pyarrow.list_(pyarrow.struct([("at", pyarrow.int64()), ("notes", pyarrow.list_(pyarrow.string()))]))),
        ("counts", pyarrow.map_(pyarrow.string(), pyarrow.int64())),
    ]
)


def their_table(rng, first=0, count=200, schema=THEIR_SCHEMA):
    rows = their_rows(rng, first, count)
    return pyarrow.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema=schema)


def make_appended(rng, path):
    for commit in range(5):
        write_deltalake(path, their_table(rng, commit * 200), mode="append")


def make_partitioned(rng, path):
    for commit in range(3):
        write_deltalake(path, their_table(rng, commit * 200), mode="append", partition_by=["part", "day"])


def make_changed(rng, path):
    write_deltalake(path, their_table(rng, count=1000))
    table = DeltaTable(path)
    table.delete("small < 0")
    table.update(updates={"part": "'changed'"}, predicate="big > 0")
    source = their_table(rng, 900, 300)
    table.merge(source, "t.id = s.id", source_alias="s", target_alias="t").when_matched_update_all().when_not_matched_insert_all().execute()


def make_checkpointed(rng, path):
    make_appended(rng, path)
    DeltaTable(path).create_checkpoint()
    for commit in range(5, 8):
        write_deltalake(path, their_table(rng, commit * 200), mode="append")


def make_maintained(rng, path):
    make_appended(rng, path)
    table = DeltaTable(path)
    table.delete("flag")
    table.optimize.compact()
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)


def make_evolved(rng, path):
    few = pyarrow.schema([THEIR_SCHEMA.field(name) for name in ("id", "part", "small")])
    write_deltalake(path, their_table(rng, schema=few))
    write_deltalake(path, their_table(rng, 200), mode="append", schema_mode="merge")
    write_deltalake(path, their_table(rng, 400, schema=few), mode="append", schema_mode="merge")


def make_change_feed(rng, path):
    write_deltalake(path, their_table(rng, count=500), configuration={"delta.enableChangeDataFeed": "true"})
    table = DeltaTable(path)
    table.update(updates={"small": "1"}, predicate="flag")
    table.delete("small = 1")


def make_restored(rng, path):
    make_appended(rng, path)
    table = DeltaTable(path)
    table.delete("big > 0")
    table.restore(2)


THEIR_TABLES = {
    "appended": make_appended,
    "partitioned": make_partitioned,
    "changed": make_changed,
    "checkpointed": make_checkpointed,
    "maintained": make_maintained,
    "evolved": make_evolved,
    "change_feed": make_change_feed,
    "restored": make_restored,
}


def we_read(path, version=None):
    command = [SLUICE, "table", "rows", path] + ([] if version is None else ["--version", str(version)])
    lines = subprocess.run(command, check=True, capture_output=True).stdout.splitlines()
    table = DeltaTable(path, version=version)
    schema = pyarrow.schema(table.schema().to_arrow())
    expected = table.to_pyarrow_table(partitions=None).to_pylist()
    rows = [json.loads(line, parse_float=decimal.Decimal) for line in lines]
    got = [{field.name: from_json(row[field.name], field.type) for field in schema} for row in rows]
    return compare(sorted(map(plain, got)), sorted(plain(sorted_maps(row)) for row in expected)), len(rows)


def compare_feeds(path):
    """What deltalake and we tell of all versions."""
    table = DeltaTable(path)
    schema = pyarrow.schema(table.schema().to_arrow())
    feed = table.load_cdf(starting_version=0)
    theirs = pyarrow.table(feed.read_all() if hasattr(feed, "read_all") else feed).to_pylist()
    command = [SLUICE, "table", "changes", path, "--from", "0"]
    lines = subprocess.run(command, check=True, capture_output=True).stdout.splitlines()
    ours = [json.loads(line, parse_float=decimal.Decimal) for line in lines]

    def told(row, cell):
        values = {field.name: cell(row[field.name], field.type) for field in schema}
        return (row["_commit_version"], row["_change_type"], plain(values))

    got = sorted(told(row, from_json) for row in ours)
    expected = sorted(told(row, lambda value, kind: sorted_maps(value)) for row in theirs)
    return compare(got, expected), len(ours)


# ---- both write in turn ----


def wait_for_version(server, name, version):
    for _ in range(600):
        if server.call("GET", f"/v1/tables/{name}")["version"] >= version:
            return
        time.sleep(0.05)
    raise SystemExit(f"the server does not follow table {name} to version {version}")


def take_turns(rng, data, models):
    """deltalake changes tables of a running server, which goes on with what it finds."""
    server = Server(data)
    try:
        path = os.path.join(data, "tables", "cow")
        rows = {row["id"]: row for row in models["cow"]}
        keys = sorted(rows)
        for turn in range(4):
            gone, changed, ours = keys[turn], keys[turn + 10], keys[turn + 20]
            table = DeltaTable(path)
            table.delete(f"id = '{gone}'")
            table.update(updates={"small": str(turn), "part": "NULL"}, predicate=f"id = '{changed}'")
            wait_for_version(server, "cow", table.version())
            rows.pop(gone, None)
            rows[changed] = {**rows[changed], "small": turn, "part": None}
            answer = server.call(
                "POST",
                "/v1/tables/cow/lookup",
                json.dumps({"keys": [{"id": gone}, {"id": changed}]}).encode(),
                {"Content-Type": "application/json"},
            )
            found = [row["found"] and row["row"]["small"] for row in answer["rows"]]
            if found != [False, turn]:
                return f"turn {turn}: the lookup gives {found} after deltalake's commit"
            row = random_row(rng, ours, 10**6 + turn, PLAIN_PARTS)
            rows[ours] = row
            again = random_row(rng, gone, 10**6 + turn, PLAIN_PARTS)
            rows[gone] = again
            server.call(
                "POST",
                "/v1/tables/cow/batches",
                "\n".join([to_json(row, "upsert"), to_json(again, "upsert")]).encode(),
                {"Content-Type": "application/x-ndjson", "Prefer": "wait=60", "Idempotency-Key": f"turn-{turn}"},
            )
        models["cow"] = list(rows.values())
        return None
    finally:
        server.stop()


def restore(data, name, version):
    server = Server(data)
    try:
        body = json.dumps({"version": version}).encode()
        server.call("POST", f"/v1/tables/{name}/restore", body, {"Content-Type": "application/json", "Prefer": "wait=60"})
    finally:
        server.stop()


def main():
    rng = random.Random(SEED)
    work = tempfile.mkdtemp(prefix="sluice-interop.")
    data = os.path.join(work, "data")
    os.mkdir(data, 0o700)
    passed = failed = 0
    server = Server(data)
    models = {}
    try:
        for name, definition in TABLES.items():
            body = {"schema": {"fields": FIELDS}, **definition}
            server.call("PUT", f"/v1/tables/{name}", json.dumps(body).encode(), {"Content-Type": "application/json"})
            models[name] = history(rng, name, definition, server)
    finally:
        server.stop()
    passed, failed = count(passed, failed, "deltalake and sluice write cow in turn", take_turns(rng, data, models))
    for name, make in THEIR_TABLES.items():
        path = os.path.join(work, "theirs", name)
        cell = f"sluice reads {name} of deltalake {versions()['deltalake']}"
        try:
            make(rng, path)
            difference, rows = we_read(path)
            cell += f": {rows} rows"
            if difference is None and name != "maintained":  # vacuum took the files of version 0
                difference, _ = we_read(path, version=0)
        except Exception as error:
            difference = f"{type(error).__name__}: {str(error)[:300]} {getattr(error, 'stderr', b'')[:300]}"
        passed, failed = count(passed, failed, cell, difference)
    feeds = [os.path.join(data, "tables", name) for name in TABLES if "feed" in name]
    for path in feeds + [os.path.join(work, "theirs", "change_feed")]:
        cell = f"deltalake {versions()['deltalake']} and sluice tell the same changes of {os.path.basename(path)}"
        try:
            difference, rows = compare_feeds(path)
            cell += f": {rows} rows"
        except Exception as error:
            difference = f"{type(error).__name__}: {str(error)[:300]} {getattr(error, 'stderr', b'')[:300]}"
        passed, failed = count(passed, failed, cell, difference)
    for engine, read in ENGINES.items():
        version = versions()[engine]
        for name, rows in models.items():
            path = os.path.join(data, "tables", name)
            cell = f"{engine} {version} reads {name}"
            if (engine, version, name) in KNOWN_DEFECTS:
                print(f"unverified {cell}: {KNOWN_DEFECTS[engine, version, name]}")
                continue
            try:
                difference = compare(canonical(read(path)), canonical(rows))
            except Exception as error:  # an engine may fail in any way
                difference = f"{type(error).__name__}: {str(error)[:300]}"
            passed, failed = count(passed, failed, f"{cell}: {len(rows)} rows", difference)
    for name in ("dv_parts", "cow_feed"):  # last, because it changes what the models say
        path = os.path.join(data, "tables", name)
        expected = canonical(read_deltalake(path, COMMITS // 2))
        restore(data, name, COMMITS // 2)
        for engine, read in ENGINES.items():
            difference = compare(canonical(read(path)), expected)
            cell = f"{engine} {versions()[engine]} reads {name} after a restore: {len(expected)} rows"
            passed, failed = count(passed, failed, cell, difference)
    if failed == 0:
        shutil.rmtree(work)
    else:
        print(f"tables are kept in {work}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
