"""Other engines as libraries, for tests/bench/bench.py: one question a line on standard input
(a JSON list), one answer a line on standard output, seconds measured around the work itself.

  ["hello"]                        versions
  ["create", FILE]                 a table of the records of an NDJSON file
  ["append", FILE]                 more of them
  ["merge", FILE]                  upsert by prescription_id
  ["scan", FOLDER]                 read every column of every row of a Delta table
  ["open", FOLDER]                 open a Delta table and list its files

Engines: deltalake, duckdb-rewrite (a Parquet file, read, joined and written anew), spark and
spark-dv (MERGE without and with deletion vectors).
"""
import json
import os
import pathlib
import shutil
import sys
import time

import pyarrow as pa
import pyarrow.json as pj

DECIMALS = {"quantity": pa.decimal128(10, 3), "copay": pa.decimal128(9, 2)}
KINDS = {"days_supply": pa.int32(), "fill_number": pa.int32(), "refills": pa.int32(),
         "written_on": pa.date32(), "filled_on": pa.date32(), "total_cost": pa.float64(),
         "compound": pa.bool_(), "updated_at": pa.timestamp("us", "UTC")}


def read_records(path):
    """The records as a service gets them: JSON, which is part of the work."""
    table = pj.read_json(path, read_options=pj.ReadOptions(block_size=16 << 20))
    columns = []
    for name in table.column_names:
        column = table[name]
        if name in DECIMALS:
            column = column.cast(pa.float64()).cast(DECIMALS[name])
        elif name in KINDS and column.type != KINDS[name]:
            column = column.cast(KINDS[name])
        columns.append(column)
    return pa.table(columns, names=table.column_names)


def timed(work):
    started = time.perf_counter()
    work()
    return {"seconds": time.perf_counter() - started}


def make_durable(path):
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


class Deltalake:
    """delta-rs leaves it to the kernel when a commit reaches the disk; here it is waited for, as
    every subject of a benchmark does."""

    def __init__(self, folder, key="prescription_id"):
        self.folder = str(folder)
        self.key = key

    def hello(self):
        import deltalake
        return {"version": deltalake.__version__}

    def _make_durable(self):
        """What the newest commit added, then the commit."""
        log = pathlib.Path(self.folder) / "_delta_log"
        newest = max(log.glob("*.json"))
        for line in newest.read_text().splitlines():
            added = json.loads(line).get("add")
            if added is not None:
                make_durable(pathlib.Path(self.folder) / added["path"])
        for path in (self.folder, newest, log):
            make_durable(path)

    def _append(self, path, mode):
        import deltalake
        deltalake.write_deltalake(self.folder, read_records(path), mode=mode)
        self._make_durable()

    def create(self, path):
        shutil.rmtree(self.folder, ignore_errors=True)
        return timed(lambda: self._append(path, "error"))

    def append(self, path):
        return timed(lambda: self._append(path, "append"))

    def merge(self, path):
        import deltalake

        def work():
            table = deltalake.DeltaTable(self.folder)
            (table.merge(read_records(path), f"t.{self.key} = s.{self.key}",
                         source_alias="s", target_alias="t")
             .when_matched_update_all().when_not_matched_insert_all().execute())
            self._make_durable()
        return timed(work)

    def open(self, folder):
        import deltalake
        return timed(lambda: deltalake.DeltaTable(folder).file_uris())


class DuckRewrite:
    def __init__(self, folder):
        import duckdb
        import duckdb_extension_delta
        self.db = duckdb.connect(config={"allow_unsigned_extensions": "true"})
        found = pathlib.Path(duckdb_extension_delta.__file__).parent
        extension = next(found.glob("extensions/*/delta.duckdb_extension"))
        self.db.execute(f"LOAD '{extension}'")
        self.db.execute("SET threads = 1")
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
        self.file = str(pathlib.Path(folder) / "rx.parquet")

    def hello(self):
        import duckdb
        return {"version": duckdb.__version__}

    def _write(self, query):
        new = self.file + ".new"
        self.db.execute(f"COPY ({query}) TO '{new}' (FORMAT parquet, COMPRESSION zstd)")
        make_durable(new)
        os.replace(new, self.file)

    def create(self, path):
        return timed(lambda: self._write(f"SELECT * FROM read_json('{path}', format='newline_delimited')"))

    def append(self, path):
        return timed(lambda: self._write(
            f"SELECT * FROM '{self.file}' UNION ALL BY NAME "
            f"SELECT * FROM read_json('{path}', format='newline_delimited')"))

    def merge(self, path):
        def work():
            self.db.execute(f"CREATE OR REPLACE TEMP TABLE s AS SELECT * FROM "
                            f"read_json('{path}', format='newline_delimited')")
            self._write(f"SELECT * FROM '{self.file}' t WHERE NOT EXISTS (FROM s WHERE "
                        f"s.prescription_id = t.prescription_id) UNION ALL BY NAME SELECT * FROM s")
        return timed(work)

    def scan(self, folder):
        names = [row[0] for row in
                 self.db.execute(f"DESCRIBE SELECT * FROM delta_scan('{folder}')").fetchall()]
        asked = ", ".join(f'count("{name}"), max("{name}")' for name in names)
        return timed(lambda: self.db.execute(
            f"SELECT count(*), {asked} FROM delta_scan('{folder}')").fetchall())


class Spark:
    def __init__(self, folder, vectors):
        sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "interop"))
        import spark
        self.session = spark.start(os.environ["INTEROP_JARS"])
        self.folder = str(folder)
        self.vectors = vectors

    def hello(self):
        return {"version": self.session.version}

    def _records(self, path):
        return self.session.read.schema(
            "prescription_id string, member_id string, prescriber_npi string, pharmacy_npi string, "
            "ndc string, drug_name string, quantity decimal(10,3), days_supply int, fill_number int, "
            "refills int, written_on date, filled_on date, bin string, pcn string, group_id string, "
            "copay decimal(9,2), total_cost double, compound boolean, status string, note string, "
            "updated_at timestamp").json(path)

    def create(self, path):
        shutil.rmtree(self.folder, ignore_errors=True)
        return timed(lambda: self._records(path).write.format("delta").option(
            "delta.enableDeletionVectors", str(self.vectors).lower()).save(self.folder))

    def append(self, path):
        return timed(lambda: self._records(path).write.format("delta").mode("append").save(self.folder))

    def merge(self, path):
        def work():
            self._records(path).createOrReplaceTempView("s")
            self.session.sql(
                f"MERGE INTO delta.`{self.folder}` t USING s ON t.prescription_id = s.prescription_id "
                "WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *")
        return timed(work)


def make(engine, folder):
    if engine == "deltalake":
        return Deltalake(folder)
    if engine == "duckdb-rewrite":
        return DuckRewrite(folder)
    if engine in ("spark", "spark-dv"):
        return Spark(folder, engine == "spark-dv")
    raise SystemExit(f"no engine {engine}")


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is not an answer
    engine = make(sys.argv[1], pathlib.Path(sys.argv[2]))
    for line in sys.stdin:
        verb, *arguments = json.loads(line)
        print(json.dumps(getattr(engine, verb)(*arguments)), file=answers, flush=True)


if __name__ == "__main__":
    main()
