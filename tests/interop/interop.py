"""Post seeded histories to a Sluice, then read its tables with other engines, read
theirs, and let both write one table in turn.

Each cell of the matrix is a feature and an engine: does it read our tables, do we read
its, do both write one in turn. Everything is compared row by row with a model, or with what
the engine itself reads. A cell that cannot run says "unverified" with the reason, and is
counted as neither passed nor failed. The last line is "N passed, N failed".

  --readme FILE   write the matrix between the markers of this file; without it the run only
                  says when the file it stands in tells something else
"""

import argparse
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
import threading
import time
import urllib.error
import urllib.request

import duckdb
import duckdb_extension_delta
import polars
import pyarrow
import spark
from deltalake import DeltaTable, QueryBuilder, write_deltalake
from deltalake.exceptions import CommitFailedError

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

# Of tables whose name begins with "nested" or "mapped". `paid` comes in the middle of their history.
PERSON = [
    {"name": "name", "type": "string"},
    {"name": "born", "type": "date"},
    {"name": "codes", "type": {"type": "array", "elementType": "integer"}},
    {"name": "paid", "type": "decimal(12,3)"},
]
VISIT = [{"name": "at", "type": "timestamp"}, {"name": "notes", "type": {"type": "array", "elementType": "string"}}]
NESTED = [
    {"name": "person", "type": {"type": "struct", "fields": PERSON}},
    {"name": "visits", "type": {"type": "array", "elementType": {"type": "struct", "fields": VISIT}}},
    {"name": "counts", "type": {"type": "map", "keyType": "string", "valueType": "long"}},
    {"name": "days", "type": {"type": "map", "keyType": "date", "valueType": {"type": "struct", "fields": [{"name": "raw", "type": "binary"}]}}},
]
NESTED_NAMES = [field["name"] for field in NESTED]
MAPS = {"counts", "days"}


# Types of the columns of `widened` in the first half of its history, and what they hold then.
NARROW = {"small": "byte", "big": "integer", "ratio": "float", "money": "decimal(5,2)"}


def narrow(rng, row):
    values = {
        "small": rng.randint(-128, 127),
        "big": rng.randint(-(2**31), 2**31 - 1),
        "ratio": rng.choice([0.0, -1.5, 2.0**100]),
        "money": decimal.Decimal(rng.randint(-99999, 99999)).scaleb(-2),
    }
    return {name: values[name] if name in values and item is not None else item for name, item in row.items()}


def has_nested(name):
    return name.startswith(("nested", "mapped"))


def fields_of(name, early=False):
    """The fields that a table has in the end, or in the first half of its history."""
    if early and name == "widened":
        return [{**field, "type": NARROW.get(field["name"], field["type"])} for field in FIELDS]
    if early and name == "evolved":
        return [field for field in FIELDS if field["name"] not in LATE]
    nested = NESTED if has_nested(name) else []
    if early and nested:
        nested = [{"name": "person", "type": {"type": "struct", "fields": PERSON[:-1]}}, *nested[1:]]
    return FIELDS + nested

# Name → definition; what it stands for in the matrix is in OURS.
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
    "evolved": {"merge": "deletion-vectors", "key": ["id"], "sequence_by": "seq"},
    "widened": {"merge": "deletion-vectors", "key": ["id"], "sequence_by": "seq"},
    "checkpointed": {"merge": "copy-on-write", "key": ["id"]},
    "maintained": {"merge": "deletion-vectors", "key": ["id"], "sequence_by": "seq"},
    "nested": {"merge": "deletion-vectors", "key": ["id"], "sequence_by": "seq"},
    "nested_parts": {"merge": "copy-on-write", "key": ["id"], "partition_by": ["part"], "change_feed": True},
    "mapped": {"merge": "deletion-vectors", "key": ["id"], "sequence_by": "seq", "change_feed": True},
    "mapped_parts": {"merge": "copy-on-write", "key": ["id"], "partition_by": ["part"]},
}
OURS = {
    "dv": "deletion vectors",
    "dv_parts": "partitioned",
    "dv_odd_parts": "partitioned",
    "cow": "upserts, copy-on-write",
    "cow_parts": "partitioned",
    "dv_feed": "change feed",
    "cow_feed": "change feed",
    "appended": "append",
    "appended_parts": "partitioned",
    "appended_odd_parts": "partitioned",
    "evolved": "evolved schema",
    "widened": "widened types",
    "checkpointed": "checkpoints",
    "maintained": "optimized, vacuumed",
    "nested": "nested columns",
    "nested_parts": "nested columns",
    "mapped": "column mapping",
    "mapped_parts": "column mapping",
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
                self.etag = answer.headers["ETag"]
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


def random_nested(rng, early):
    def maybe(value):
        return None if rng.random() < 0.15 else value

    def moment():
        return datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc) + datetime.timedelta(microseconds=rng.randint(0, 10**15))

    def day():
        return datetime.date(1950, 1, 1) + datetime.timedelta(days=rng.randint(0, 20000))

    def some(make):
        return [make() for _ in range(rng.choice([0, 1, 1, 2, 5]))]

    person = {
        "name": maybe(random_text(rng)),
        "born": maybe(day()),
        "codes": maybe(some(lambda: maybe(rng.randint(-5, 5)))),
        "paid": None if early else maybe(decimal.Decimal(rng.randint(-(10**10), 10**10)).scaleb(-3)),
    }
    visit = lambda: maybe({"at": maybe(moment()), "notes": maybe(some(lambda: maybe(random_text(rng))))})
    return {
        "person": maybe(person),
        "visits": maybe(some(visit)),
        "counts": maybe({key: maybe(rng.randint(-(2**63), 2**63 - 1)) for key in some(lambda: random_text(rng))}),
        "days": maybe({key: maybe({"raw": maybe(b"\x00\xff" * rng.randint(0, 3))}) for key in some(day)}),
    }


def json_value(value):
    if isinstance(value, dict):
        return {json_value(name): json_value(item) for name, item in value.items()}
    if isinstance(value, list):
        return [json_value(item) for item in value]
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value


def to_json(row, operation):
    record = {"_op": operation} if operation else {}
    return json.dumps({**record, **json_value(row)}, ensure_ascii=False)


def early_person(row):
    """A record from before `paid`."""
    if row.get("person") is None:
        return row
    return {**row, "person": {name: item for name, item in row["person"].items() if name != "paid"}}


LATE = {"small", "money", "raw"}  # columns that `evolved` gets in the middle of its history


def define(server, name, definition, fields, headers=None):
    body = {"schema": {"fields": fields}, **definition}
    return server.call(
        "PUT", f"/v1/tables/{name}", json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})}
    )


def evolve(server, name):
    server.call("GET", f"/v1/tables/{name}")
    define(server, name, TABLES[name], fields_of(name), {"If-Match": server.etag})


# What columns of `mapped` tables are called in the first half of their history. There is one more,
# `gone`, and `huge` is a text then: it is dropped, and another column gets its name.
EARLY_NAMES = {"id": "key", "part": "section", "small": "tiny", "raw": "content"}


def early_record(row):
    early = {EARLY_NAMES.get(name, name): value for name, value in row.items()}
    return {**early, "gone": "was here", **({"huge": "text"} if "huge" in row else {})}


def early_definition(name):
    fields = [{**field, "name": EARLY_NAMES.get(field["name"], field["name"])} for field in fields_of(name, early=True)]
    fields = [{"name": "huge", "type": "string"} if field["name"] == "huge" else field for field in fields]
    lists = {member: [EARLY_NAMES.get(column, column) for column in TABLES[name].get(member, [])] for member in ("key", "partition_by")}
    return {**TABLES[name], **lists}, [*fields, {"name": "gone", "type": "string"}]


def map_columns(server, name, model):
    server.call("GET", f"/v1/tables/{name}")
    kept = [
        {**field, "renamed_from": EARLY_NAMES[field["name"]]} if field["name"] in EARLY_NAMES else field
        for field in fields_of(name)
        if field["name"] != "huge"
    ]
    body = {"schema": {"fields": kept, "dropped": ["gone", "huge"]}, **TABLES[name]}
    headers = {"Content-Type": "application/json", "If-Match": server.etag}
    server.call("PUT", f"/v1/tables/{name}", json.dumps(body).encode(), headers)
    define(server, name, TABLES[name], fields_of(name), {"If-Match": "*"})
    for row in model.values():
        row["huge"] = None


def history(rng, name, definition, server):
    """Post commits of inserts, upserts, patches and deletes; return the model's rows."""
    keyed = "key" in definition
    has_sequence = "sequence_by" in definition
    model, appended, sequence = {}, [], 0
    parts = ODD_PARTS if "odd" in name else PLAIN_PARTS
    for commit in range(120 if name == "checkpointed" else COMMITS):
        early = commit < COMMITS // 2
        if (name in ("evolved", "widened") or name.startswith("nested")) and commit == COMMITS // 2:
            evolve(server, name)
        if name.startswith("mapped") and commit == COMMITS // 2:
            map_columns(server, name, model)
        lines = []
        for _ in range(rng.randint(1, 10 if name == "checkpointed" else 60)):
            key = f"k{rng.randint(0, KEYS)}"
            sequence += 1
            late = has_sequence and rng.random() < 0.2
            seq = max(1, sequence - rng.randint(50, 500)) if late else sequence
            row = random_row(rng, key, seq, parts)
            if has_nested(name):
                row.update(random_nested(rng, early))
            if name == "widened" and early:
                row = narrow(rng, row)
            if name == "evolved" and early:
                row = {field: value for field, value in row.items() if field not in LATE}
            if not keyed:
                appended.append(row)
                lines.append(to_json(row, None))
                continue
            operation = rng.choices(["upsert", "delete", "patch"], [7, 2, 1])[0]
            known = model.get(key)
            wins = known is None or not has_sequence or seq >= known["seq"]
            if operation == "patch":
                row = {field: row[field] for field in ("id", "big", "seq", "visits") if field in row}
            elif operation == "delete":
                row = {field: row[field] for field in ("id", "seq")}
            record = early_person(row) if early else row
            lines.append(to_json(early_record(record) if name.startswith("mapped") and early else record, operation))
            if not wins:
                continue
            if operation == "delete":
                model[key] = {"seq": seq, "gone": True}
            elif operation == "patch" and known is not None and "gone" not in known:
                model[key] = {**known, **row}
            else:
                model[key] = {**dict.fromkeys(field["name"] for field in fields_of(name)), **row}
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
        if isinstance(item, dict):
            return ("s", tuple(sorted((name, value(part)) for name, part in item.items())))
        if isinstance(item, (list, tuple)):
            return ("l", tuple(value(part) for part in item))
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

    def entries(item):
        """A map as pairs: engines give a dict, pairs, or structs of key and value."""
        pairs = item.items() if isinstance(item, dict) else item
        pairs = [(pair["key"], pair["value"]) if isinstance(pair, dict) else pair for pair in pairs]
        return sorted((value(key), value(part)) for key, part in pairs)

    def cell(name, item):
        if name in MAPS and item is not None:
            return ("m", tuple(entries(item)))
        # Delta cannot tell an empty partition value from null
        return value(None if name == "part" and item == "" else item)

    names = NAMES + [name for name in NESTED_NAMES if rows and name in rows[0]]
    return sorted(tuple(cell(name, row[name]) for name in names) for row in rows)


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


READERS = {"deltalake": read_deltalake, "duckdb": read_duckdb, "polars": read_polars}


def compare(got, expected):
    if got == expected:
        return None
    missing = len(set(expected) - set(got))
    strange = len(set(got) - set(expected))
    return f"{len(got)} rows instead of {len(expected)}: {missing} missing, {strange} strange"


# ---- the matrix ----

READ_OURS, READ_THEIRS, IN_TURN = "they read ours", "we read theirs", "both in turn"
DIRECTIONS = (READ_OURS, READ_THEIRS, IN_TURN)
FEATURES = (
    "append",
    "upserts, copy-on-write",
    "partitioned",
    "nested columns",
    "column mapping",
    "deletion vectors",
    "change feed",
    "constraints",
    "evolved schema",
    "widened types",
    "checkpoints",
    "optimized, vacuumed",
    "restored",
)


class Report:
    def __init__(self):
        self.passed = self.failed = 0
        self.cells = {}  # (feature, engine, direction) → list of None (good), or a reason

    def note(self, feature, engine, direction, verdict, reason):
        self.cells.setdefault((feature, engine, direction), []).append((verdict, reason))

    def check(self, feature, engine, direction, what, run):
        """`run` gives (difference or None, words for the line)."""
        try:
            difference, words = run()
        except Exception as error:  # an engine may fail in any way
            text = str(getattr(error, "stderr", b"") or error)
            difference, words = f"{type(error).__name__}: {' '.join(text.split())[:300]}", ""
        line = f"{engine}: {what}{': ' + words if words else ''}"
        if difference is None:
            self.passed += 1
            print(f"ok   {line}", flush=True)
        else:
            self.failed += 1
            print(f"FAIL {line}: {difference}", flush=True)
        self.note(feature, engine, direction, "ok" if difference is None else "failed", difference)

    def unverified(self, feature, engine, direction, what, reason):
        print(f"unverified {engine}: {what}: {reason}", flush=True)
        self.note(feature, engine, direction, "unverified", reason)

    def cell(self, feature, engine, direction, reasons):
        """✓ when all was good, ✗ when something failed, else a number of a reason; – for nothing."""
        notes = self.cells.get((feature, engine, direction), [])
        verdicts = [verdict for verdict, _ in notes]
        if "failed" in verdicts:
            return "✗"
        mark = "✓" if "ok" in verdicts else "" if notes else "–"
        for verdict, reason in notes:
            if verdict == "unverified":
                if reason not in reasons:
                    reasons.append(reason)
                number = f"({reasons.index(reason) + 1})"
                mark += "" if number in mark else number
        return mark

    def matrix(self, engines):
        reasons = []
        lines = ["| feature | " + " | ".join(engines) + " |", "|---|" + "---|" * len(engines)]
        for feature in FEATURES:
            cells = [" ".join(self.cell(feature, engine, direction, reasons) for direction in DIRECTIONS) for engine in engines]
            lines.append(f"| {feature} | " + " | ".join(cells) + " |")
        lines += ["", "Each cell: they read ours, we read theirs, both write one table in turn. ✓ verified row by row, – does not apply."]
        lines += [f"({number}) unverified: {reason}" for number, reason in enumerate(reasons, 1)]
        return "\n".join(lines) + "\n"


BEGIN, END = "<!-- matrix: make interop-readme -->\n", "<!-- end of matrix -->\n"


def matrix_in(path):
    text = pathlib.Path(path).read_text()
    start = text.index(BEGIN) + len(BEGIN)
    return text, start, text.index(END, start)


# Reader defects that are known: (engine and version, table) → why it is not counted.
KNOWN_DEFECTS = {
    ("polars 2.1.0", "dv_odd_parts"): "Polars does not apply deletion vectors of files whose path holds an escaped"
    " character (deltalake and duckdb read the same table right)",
    ("duckdb 1.5.5", "mapped_parts"): "DuckDB tells nulls for partition columns of tables that map columns, Spark's too",
    ("deltalake 1.6.6", "widened"): "deltalake and Polars refuse tables whose types were widened",
    ("polars 2.1.0", "widened"): "deltalake and Polars refuse tables whose types were widened",
    ("polars 2.1.0", "mapped"): "Polars refuses tables that map columns",
    ("polars 2.1.0", "mapped_parts"): "Polars refuses tables that map columns",
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
        return sorted((from_json(key, kind.key_type), from_json(item, kind.item_type)) for key, item in value.items())
    if pyarrow.types.is_decimal(kind):
        return decimal.Decimal(value)
    if pyarrow.types.is_floating(kind):
        return float(value)
    if pyarrow.types.is_integer(kind):
        return int(value)  # keys of maps are texts
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


# Name → (feature, how it is made, is its first version still whole?)
THEIR_TABLES = {
    "appended": ("append", make_appended, True),
    "nested": ("nested columns", make_appended, True),
    "partitioned": ("partitioned", make_partitioned, True),
    "changed": ("upserts, copy-on-write", make_changed, True),
    "checkpointed": ("checkpoints", make_checkpointed, True),
    "maintained": ("optimized, vacuumed", make_maintained, False),
    "evolved": ("evolved schema", make_evolved, True),
    "change_feed": ("change feed", make_change_feed, True),
    "restored": ("restored", make_restored, True),
}


def our_lines(*arguments):
    command = [SLUICE, "table", *arguments]
    output = subprocess.run(command, check=True, capture_output=True).stdout
    return [json.loads(line, parse_float=decimal.Decimal) for line in output.splitlines()]


def values_of(row, schema):
    return {field.name: from_json(row[field.name], field.type) for field in schema}


def we_read(path, read, version=None):
    """What we read of a table's version, against what its writer reads."""
    table = read(path, version)
    rows = our_lines("rows", path, *([] if version is None else ["--version", str(version)]))
    got = sorted(plain(values_of(row, table.schema)) for row in rows)
    return compare(got, sorted(plain(sorted_maps(row)) for row in table.to_pylist())), len(rows)


def we_read_versions(path, read, versions):
    for version in versions:
        difference, rows = we_read(path, read, version)
        if difference is not None:
            return f"version {version}: {difference}", ""
    difference, rows = we_read(path, read)
    return difference, f"{rows} rows"


def deltalake_table(path, version=None):
    return DeltaTable(path, version=version).to_pyarrow_table()


def deltalake_changes(path):
    feed = DeltaTable(path).load_cdf(starting_version=0)
    table = pyarrow.table(feed.read_all() if hasattr(feed, "read_all") else feed)
    return table, pyarrow.schema(DeltaTable(path).schema().to_arrow())


def spark_changes(session, path):
    return spark.read_changes(session, path), spark.read(session, path).schema


def complete(value, kind):
    """With nulls for the fields of structs that came later: we tell a version as it was."""
    if value is None:
        return None
    if pyarrow.types.is_struct(kind):
        return {field.name: complete(value.get(field.name), field.type) for field in kind}
    if pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind):
        return [complete(item, kind.value_type) for item in value]
    if pyarrow.types.is_map(kind):
        return {key: complete(item, kind.item_type) for key, item in value.items()}
    return value


def compare_feeds(path, read_changes):
    """What another engine and we tell of all versions."""
    theirs, schema = read_changes(path)
    ours = [
        {**row, **{field.name: complete(row[field.name], field.type) for field in schema}}
        for row in our_lines("changes", path, "--from", "0")
    ]

    def line(row, values):
        return (row["_commit_version"], row["_change_type"], plain(values))

    got = sorted(line(row, values_of(row, schema)) for row in ours)
    expected = sorted(line(row, {name: sorted_maps(row[name]) for name in schema.names}) for row in theirs.to_pylist())
    return compare(got, expected), f"{len(ours)} changes"


# ---- both write in turn ----


def wait_for_version(server, name, version):
    for _ in range(600):
        if server.call("GET", f"/v1/tables/{name}")["version"] >= version:
            return
        time.sleep(0.05)
    raise SystemExit(f"the server does not follow table {name} to version {version}")


class DeltalakeTurns:
    """deltalake changes a copy-on-write table."""

    def __init__(self, name, path):
        self.name, self.path = name, path

    def change(self, turn, gone, changed):
        table = DeltaTable(self.path)
        table.delete(f"id = '{gone}'")
        table.update(updates={"small": str(turn), "part": "NULL"}, predicate=f"id = '{changed}'")
        return table.version()


class SparkTurns:
    """Spark changes a table with deletion vectors, one statement of each kind, and compacts it."""

    def __init__(self, session, name, path):
        self.session, self.name, self.path = session, name, path

    def change(self, turn, gone, changed):
        table = f"delta.`{self.path}`"
        if turn % 2 == 0:
            self.session.sql(f"delete from {table} where id = '{gone}'")
            self.session.sql(f"update {table} set small = {turn}, part = null where id = '{changed}'")
        else:
            self.session.sql(
                f"merge into {table} t using (select * from values ('{gone}', true), ('{changed}', false) as v(id, gone)) s"
                f" on t.id = s.id when matched and s.gone then delete when matched then update set small = {turn}, part = null"
            )
            self.session.sql(f"optimize {table}")
        return self.session.sql(f"describe history {table} limit 1").collect()[0]["version"]


def take_turns(rng, data, models, other):
    """Another engine changes a table of a running server, which goes on with what it finds."""
    server = Server(data)
    name = other.name
    try:
        rows = {row["id"]: row for row in models[name]}
        keys = sorted(rows)
        for turn in range(4):
            gone, changed, ours = keys[turn], keys[turn + 10], keys[turn + 20]
            wait_for_version(server, name, other.change(turn, gone, changed))
            rows.pop(gone, None)
            rows[changed] = {**rows[changed], "small": turn, "part": None}
            answer = server.call(
                "POST",
                f"/v1/tables/{name}/lookup",
                json.dumps({"keys": [{"id": gone}, {"id": changed}]}).encode(),
                {"Content-Type": "application/json"},
            )
            found = [row["found"] and row["row"]["small"] for row in answer["rows"]]
            if found != [False, turn]:
                return f"turn {turn}: the lookup gives {found} after the other's commit", ""
            for key in (ours, gone):
                rows[key] = random_row(rng, key, 10**6 + turn, PLAIN_PARTS)
                if has_nested(name):
                    rows[key].update(random_nested(rng, early=False))
            server.call(
                "POST",
                f"/v1/tables/{name}/batches",
                "\n".join([to_json(rows[ours], "upsert"), to_json(rows[gone], "upsert")]).encode(),
                {"Content-Type": "application/x-ndjson", "Prefer": "wait=60", "Idempotency-Key": f"turn-{turn}"},
            )
        models[name] = list(rows.values())
        return None, "4 turns"
    finally:
        server.stop()


class DeltalakeAtWork(threading.Thread):
    """deltalake appends, merges, deletes, optimizes and vacuums until it is told to stop."""

    def __init__(self, rng, path):
        super().__init__()
        self.rng, self.path = random.Random(rng.random()), path
        self.enough = threading.Event()
        self.rows, self.gone, self.lost_races, self.failure = {}, set(), 0, None

    def tables(self, keys, value):
        schema = pyarrow.schema([("id", pyarrow.string()), ("n", pyarrow.int64())])
        return pyarrow.Table.from_pylist([{"id": key, "n": value} for key in keys], schema=schema)

    def step(self, number):
        table = DeltaTable(self.path)
        fresh = [f"d{number}-{i}" for i in range(5)]
        some = self.rng.sample(sorted(self.rows), min(3, len(self.rows)))
        kind = number % 5
        if kind == 0:
            write_deltalake(table, self.tables(fresh, number), mode="append")
            self.rows.update(dict.fromkeys(fresh, number))
        elif kind == 1:
            merge = table.merge(self.tables(some + fresh, number), "t.id = s.id", source_alias="s", target_alias="t")
            merge.when_matched_update_all().when_not_matched_insert_all().execute()
            self.rows.update(dict.fromkeys(some + fresh, number))
        elif kind == 2:
            gone = some[:1] + [f"g{number}"]  # one of its own and one that we wrote
            table.delete("id in (" + ",".join(f"'{key}'" for key in gone) + ")")
            for key in gone:
                self.rows.pop(key, None)
                self.gone.add(key)
        elif kind == 3:
            table.optimize.compact()
        else:
            table.vacuum(dry_run=False)

    def run(self):
        number = 0
        try:
            while not self.enough.is_set():
                try:
                    self.step(number)
                    number += 1
                except CommitFailedError:
                    self.lost_races += 1  # we were faster; again
        except Exception as error:
            self.failure = error
        self.steps = number


def at_once(rng, data):
    """deltalake and we write one table at the same time; then nothing is lost, doubled or back."""
    path = os.path.join(data, "tables", "at_once")
    server = Server(data)

    def post(number, rows):
        lines = "\n".join(json.dumps({"id": key, "n": value}) for key, value in rows.items())
        headers = {"Content-Type": "application/x-ndjson", "Prefer": "wait=60", "Idempotency-Key": f"at-once-{number}"}
        return server.call("POST", "/v1/tables/at_once/batches", lines.encode(), headers)

    try:
        fields = [{"name": "id", "type": "string", "nullable": False}, {"name": "n", "type": "long"}]
        define(server, "at_once", {"merge": "copy-on-write", "key": ["id"]}, fields)
        expected = {f"g{number}": -1 for number in range(400)}
        post("first", expected)
        other = DeltalakeAtWork(rng, path)
        other.start()
        for number in range(150):
            rows = {f"k{rng.randint(0, 60)}": number for _ in range(10)} | {f"u{number}": number}
            post(number, rows)
            expected.update(rows)
        other.enough.set()
        other.join()
        if other.failure is not None:
            raise other.failure
        expected = {key: value for key, value in expected.items() if key not in other.gone} | other.rows
        wait_for_version(server, "at_once", DeltaTable(path).version())
        ours, token = [], ""
        while token is not None:
            page = server.call("GET", f"/v1/tables/at_once/rows?limit=1000{token and '&page_token=' + token}")
            ours, token = ours + page["rows"], page["next_page_token"]
        theirs = read_deltalake(path)
        rows = lambda rows: sorted((row["id"], row["n"]) for row in rows)
        difference = compare(rows(ours), sorted(expected.items())) or compare(rows(theirs), sorted(expected.items()))
        return difference, f"150 batches beside {other.steps} steps, {other.lost_races} races lost by it"
    finally:
        server.stop()


def restore(data, name, version):
    server = Server(data)
    try:
        body = json.dumps({"version": version}).encode()
        server.call("POST", f"/v1/tables/{name}/restore", body, {"Content-Type": "application/json", "Prefer": "wait=60"})
    finally:
        server.stop()


class Engines:
    """Who reads what we write. Spark takes part where it can run."""

    def __init__(self):
        import importlib.metadata

        self.readers = {name: read for name, read in READERS.items()}
        self.labels = {name: f"{name} {importlib.metadata.version(name)}" for name in READERS}
        self.labels["spark"] = f"Spark {spark.SPARK} with Delta {spark.DELTA}"
        self.why_no_spark = self.session = None
        try:
            self.session = spark.start(os.environ["INTEROP_JARS"])
        except spark.Unavailable as error:
            self.why_no_spark = str(error)
        if self.session is not None:
            self.readers["spark"] = lambda path, version=None: spark.read(self.session, path, version).to_pylist()


def make_ours(rng, data):
    models = {}
    server = Server(data)
    try:
        for name, definition in TABLES.items():
            if name.startswith("mapped"):
                define(server, name, *early_definition(name))
            else:
                define(server, name, definition, fields_of(name, early=True))
            models[name] = history(rng, name, definition, server)
        for verb, body in (("optimize", b"{}"), ("vacuum", b'{"dry_run": false, "retention_seconds": 3600}')):
            server.call("POST", f"/v1/tables/maintained/{verb}", body, {"Content-Type": "application/json", "Prefer": "wait=60"})
    finally:
        server.stop()
    return models


def check_turns(report, rng, data, models, engines):
    def path(name):
        return os.path.join(data, "tables", name)

    turns = [("deltalake", DeltalakeTurns("cow", path("cow")))]
    for name in ("dv", "nested", "mapped", "widened"):
        if engines.session is not None:
            turns.append(("spark", SparkTurns(engines.session, name, path(name))))
        else:
            report.unverified(OURS[name], engines.labels["spark"], IN_TURN, f"writes {name} in turn with us", engines.why_no_spark)
    for engine, other in turns:
        run = lambda: take_turns(rng, data, models, other)
        report.check(OURS[other.name], engines.labels[engine], IN_TURN, f"writes {other.name} in turn with us", run)
    report.check(OURS["cow"], engines.labels["deltalake"], IN_TURN, "writes a table at once with us", lambda: at_once(rng, data))


class DeltalakeBounds:
    """deltalake meets our constraint and states one of its own."""

    merge = "copy-on-write"

    def append(self, path, row):
        schema = pyarrow.schema([("id", pyarrow.string()), ("small", pyarrow.int32())])
        write_deltalake(path, pyarrow.Table.from_pylist([row], schema=schema), mode="append")

    def constrain(self, path, name, check):
        DeltaTable(path).alter.add_constraint({name: check})

    def version(self, path):
        return DeltaTable(path).version()


class SparkBounds:
    merge = "deletion-vectors"

    def __init__(self, session):
        self.session = session

    def append(self, path, row):
        self.session.sql(f"insert into delta.`{path}` values ('{row['id']}', {row['small']})")

    def constrain(self, path, name, check):
        self.session.sql(f"alter table delta.`{path}` add constraint {name} check ({check})")

    def version(self, path):
        return self.session.sql(f"describe history delta.`{path}` limit 1").collect()[0]["version"]


def bound(data, name, other):
    """Our constraint stops the other, and its constraint stops us."""
    path = os.path.join(data, "tables", name)
    server = Server(data)
    try:
        fields = [field for field in FIELDS if field["name"] in ("id", "small")]
        constraint = {"name": "positive", "check": "small > 0 AND id <> ''"}
        define(server, name, {"merge": other.merge, "key": ["id"], "constraints": [constraint]}, fields)
        try:
            other.append(path, {"id": "x", "small": -1})
            return "the other engine wrote a row that breaks our constraint", ""
        except Exception as error:
            if "positive" not in str(error) and "validation" not in str(error):
                raise
        other.append(path, {"id": "a", "small": 5})
        other.constrain(path, "below", "small < 10")
        wait_for_version(server, name, other.version(path))
        lines = [{"id": "b", "small": 50}, {"id": "c", "small": 9}, {"id": "d", "small": -9}]
        answer = server.call(
            "POST",
            f"/v1/tables/{name}/batches",
            "\n".join(map(json.dumps, lines)).encode(),
            {"Content-Type": "application/x-ndjson", "Prefer": "wait=60", "Idempotency-Key": name},
        )
        if answer["records"]["rejected_at_merge"] != 2:
            return f"the records came to {answer['records']}", ""
        ids = sorted(row["id"] for row in server.call("GET", f"/v1/tables/{name}/rows")["rows"])
        return (None if ids == ["a", "c"] else f"the rows are {ids}"), "each obeys the other's"
    finally:
        server.stop()


def check_constraints(report, data, engines):
    others = {"deltalake": DeltalakeBounds()}
    if engines.session is not None:
        others["spark"] = SparkBounds(engines.session)
    else:
        report.unverified("constraints", engines.labels["spark"], IN_TURN, "obeys constraints", engines.why_no_spark)
    for engine, other in others.items():
        run = lambda: bound(data, f"bounded_by_{engine}", other)
        report.check("constraints", engines.labels[engine], IN_TURN, "obeys our constraint, and we its", run)


def check_theirs(report, rng, work, engines):
    def path(engine, name):
        return os.path.join(work, engine, name)

    for name, (feature, make, whole) in THEIR_TABLES.items():
        make(rng, path("deltalake", name))
        run = lambda: we_read_versions(path("deltalake", name), deltalake_table, [0] if whole else [])
        report.check(feature, engines.labels["deltalake"], READ_THEIRS, f"we read its {name}", run)
    for name, (feature, make, whole) in spark.TABLES.items():
        features = feature.split("; ")
        if engines.session is None:
            for feature in features:
                report.unverified(feature, engines.labels["spark"], READ_THEIRS, f"we read its {name}", engines.why_no_spark)
            continue

        def run():
            make(engines.session, path("spark", name))
            read = lambda table, version=None: spark.read(engines.session, table, version)
            return we_read_versions(path("spark", name), read, [0] if whole else [])

        report.check(features[0], engines.labels["spark"], READ_THEIRS, f"we read its {name}", run)
        for feature in features[1:]:
            report.cells.setdefault((feature, engines.labels["spark"], READ_THEIRS), []).extend(
                report.cells[(features[0], engines.labels["spark"], READ_THEIRS)][-1:]
            )


def check_feeds(report, data, work, engines):
    feeds = {"deltalake": deltalake_changes}
    if engines.session is not None:
        feeds["spark"] = lambda path: spark_changes(engines.session, path)
    for engine, read_changes in feeds.items():
        paths = {os.path.join(data, "tables", name): READ_OURS for name in TABLES if "change_feed" in TABLES[name] and not name.startswith("mapped")}
        paths[os.path.join(work, engine, "change_feed")] = READ_THEIRS
        for path, direction in paths.items():
            run = lambda: compare_feeds(path, read_changes)
            what = f"tells the same changes of {'its' if direction == READ_THEIRS else 'our'} {os.path.basename(path)}"
            report.check("change feed", engines.labels[engine], direction, what, run)


def check_ours(report, data, models, engines):
    for engine, label in engines.labels.items():
        for name, rows in models.items():
            path = os.path.join(data, "tables", name)
            if engine not in engines.readers:
                report.unverified(OURS[name], label, READ_OURS, f"reads our {name}", engines.why_no_spark)
            elif (label, name) in KNOWN_DEFECTS:
                report.unverified(OURS[name], label, READ_OURS, f"reads our {name}", KNOWN_DEFECTS[label, name])
            else:
                run = lambda: (compare(canonical(engines.readers[engine](path)), canonical(rows)), f"{len(rows)} rows")
                report.check(OURS[name], label, READ_OURS, f"reads our {name}", run)


def probe_blooms(rng, data):
    """DuckDB asks the filters of our compacted files for keys that are there, and for others."""
    keys = [f"{rng.getrandbits(256):064x}" for _ in range(30000)]
    server = Server(data)
    try:
        define(server, "blooms", {"key": ["id"]}, [{"name": "id", "type": "string", "nullable": False}, {"name": "n", "type": "long"}])
        for part in range(3):
            lines = [json.dumps({"id": key, "n": part}) for key in keys[part::3]]
            headers = {"Content-Type": "application/x-ndjson", "Prefer": "wait=60", "Idempotency-Key": f"blooms-{part}"}
            server.call("POST", "/v1/tables/blooms/batches", "\n".join(lines).encode(), headers)
        server.call("POST", "/v1/tables/blooms/optimize", b"{}", {"Content-Type": "application/json", "Prefer": "wait=60"})
    finally:
        server.stop()
    live = DeltaTable(os.path.join(data, "tables", "blooms")).file_uris()
    if len(live) != 1:
        return f"{len(live)} files are left", ""
    connection = duckdb.connect()
    denied = lambda key: connection.execute(f"select bool_and(bloom_filter_excludes) from parquet_bloom_probe('{live[0]}', 'id', '{key}')").fetchone()[0]
    wrongly = sum(denied(key) for key in keys[:300])
    rightly = sum(denied(f"{rng.getrandbits(256):064x}") for _ in range(300))
    return (None if wrongly == 0 and rightly > 270 else f"{wrongly} of 300 keys denied, {rightly} of 300 others"), f"{rightly} of 300 absent keys denied"


def check_restored(report, data, engines):
    """Last, because it changes what the models say."""
    for name in ("dv_parts", "cow_feed"):
        path = os.path.join(data, "tables", name)
        expected = canonical(read_deltalake(path, COMMITS // 2))
        restore(data, name, COMMITS // 2)
        for engine, read in engines.readers.items():
            run = lambda: (compare(canonical(read(path)), expected), f"{len(expected)} rows")
            report.check("restored", engines.labels[engine], READ_OURS, f"reads our {name} after a restore", run)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--readme", help="write the matrix into this file")
    parser.add_argument("--compare", help="say when the matrix of this file differs")
    arguments = parser.parse_args()
    rng = random.Random(SEED)
    work = tempfile.mkdtemp(prefix="sluice-interop.")
    data = os.path.join(work, "data")
    os.mkdir(data, 0o700)
    report = Report()
    engines = Engines()
    models = make_ours(rng, data)
    check_turns(report, rng, data, models, engines)
    check_constraints(report, data, engines)
    check_theirs(report, rng, work, engines)
    check_feeds(report, data, work, engines)
    check_ours(report, data, models, engines)
    report.check("optimized, vacuumed", engines.labels["duckdb"], READ_OURS, "asks our Bloom filters", lambda: probe_blooms(rng, data))
    check_restored(report, data, engines)
    matrix = report.matrix([engines.labels[name] for name in ("spark", "deltalake", "duckdb", "polars")])
    print(matrix)
    if arguments.readme:
        text, start, end = matrix_in(arguments.readme)
        pathlib.Path(arguments.readme).write_text(text[:start] + "\n" + matrix + "\n" + text[end:])
    if arguments.compare:
        text, start, end = matrix_in(arguments.compare)
        if text[start:end].strip() != matrix.strip():
            print(f"note: the matrix in {arguments.compare} tells something else; `make interop-readme` writes it anew")
    if engines.session is not None:
        engines.session.stop()
    if report.failed == 0:
        shutil.rmtree(work)
    else:
        print(f"tables are kept in {work}")
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
