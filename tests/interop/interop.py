"""Post seeded histories to a Sluice, then read its tables with other engines.

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
from deltalake import DeltaTable, QueryBuilder

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


def read_deltalake(path):
    table = DeltaTable(path)
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


# Reader defects that are known: (engine, version, table) → why it is not counted.
KNOWN_DEFECTS = {
    ("polars", "2.1.0", "dv_odd_parts"): "does not apply deletion vectors of files whose path holds an escaped"
    " character (deltalake and duckdb read the same table right)",
}


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
            if difference is None:
                passed += 1
                print(f"ok   {cell}: {len(rows)} rows")
            else:
                failed += 1
                print(f"FAIL {cell}: {difference}")
    if failed == 0:
        shutil.rmtree(work)
    else:
        print(f"tables are kept in {work}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
