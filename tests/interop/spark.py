"""Spark with Delta Lake: one session that reads our tables and writes tables for us to read.

What it needs beyond Python is a Java runtime and Delta Lake's jars, which Spark fetches by name and
keeps. Where something of it is missing, `Unavailable` says what.
"""

import contextlib
import os
import shutil
import sys

SPARK = "4.1.2"
DELTA = "4.3.1"
PACKAGE = f"io.delta:delta-spark_4.1_2.13:{DELTA}"


class Unavailable(Exception):
    """Spark cannot run here; the text says what is missing."""


@contextlib.contextmanager
def output_in(path):
    """What a child that is started meanwhile prints goes into a file, for as long as it lives."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(1), os.dup(2)]
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, descriptor in enumerate(saved, 1):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.close(log)


def start(folder):
    """A session; `folder` keeps the jars."""
    if shutil.which("java") is None:
        raise Unavailable("no Java runtime; install openjdk-17-jre-headless")
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise Unavailable(f"pyspark is not installed: {error}") from error
    settings = {
        "spark.jars.packages": PACKAGE,
        "spark.jars.ivy": folder,
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.ui.enabled": "false",
        "spark.sql.warehouse.dir": os.path.join(folder, "warehouse"),
        "spark.driver.memory": "2g",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "1",
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",
        "spark.databricks.delta.snapshotPartitions": "1",
        "spark.databricks.delta.retentionDurationCheck.enabled": "false",
        "spark.log.level": "OFF",
        "spark.ui.showConsoleProgress": "false",
    }
    builder = SparkSession.builder.master("local[2]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    os.makedirs(folder, exist_ok=True)
    try:
        with output_in(os.path.join(folder, "spark.log")):
            return builder.getOrCreate()
    except Exception as error:  # of Java, whatever the jars' resolution says
        raise Unavailable(f"it does not start: {' '.join(str(error).split())[:200]}") from error


def read(session, path, version=None):
    reader = session.read.format("delta")
    if version is not None:
        reader = reader.option("versionAsOf", version)
    return reader.load(path).toArrow()


def read_changes(session, path):
    return session.read.format("delta").option("readChangeFeed", "true").option("startingVersion", 0).load(path).toArrow()


# ---- tables that Spark writes ----

# A row of every type from a number; nulls among them.
ROWS = """
    select id, concat('k', id) as name, if(id % 5 = 0, null, concat('p ', id % 3, '/=%')) as part,
        cast(id as int) as small, id * 1000000007 as big, cast(id % 100 as tinyint) as tiny,
        cast(id * 3 as smallint) as short, if(id % 7 = 0, null, id / 3.0d) as ratio,
        cast(id / 4 as float) as single, id % 2 = 0 as flag,
        date_add(date '1969-12-25', cast(id as int)) as day,
        timestamp_micros(id * 86399999999 - 1000000000000) as moment,
        cast(timestamp_micros(id * 777777777) as timestamp_ntz) as local,
        cast(id * 1.01 as decimal(10,2)) as money, cast(id * -0.000001 as decimal(38,6)) as huge,
        cast(concat('ü', id) as binary) as raw,
        if(id % 6 = 0, null, named_struct('first', concat('n', id), 'born', date '2000-02-29')) as person,
        if(id % 4 = 0, null, transform(sequence(0, id % 3), i -> named_struct('at', i, 'notes', array('x', null)))) as visits,
        map('a', id, 'b', null) as counts
    from range({first}, {last})
"""
TYPES = ["part", "small", "big", "tiny", "short", "flag", "day", "moment", "local", "money", "raw"]


def insert(session, path, first, last, create=""):
    session.sql(ROWS.format(first=first, last=last)).createOrReplaceTempView("rows")
    if create:
        session.sql(f"create table delta.`{path}` using delta {create} as select * from rows")
    else:
        session.sql(f"insert into delta.`{path}` select * from rows")


def merge(session, path, first, last):
    session.sql(ROWS.format(first=first, last=last)).createOrReplaceTempView("rows")
    session.sql(f"merge into delta.`{path}` t using rows s on t.id = s.id when matched then update set * when not matched then insert *")


def properties(**values):
    return "tblproperties (" + ", ".join(f"'delta.{name.replace('_', '.')}' = '{value}'" for name, value in values.items()) + ")"


def make_appended(session, path):
    insert(session, path, 0, 200, properties(enableDeletionVectors="false"))
    insert(session, path, 200, 300)


def make_partitioned(session, path):
    insert(session, path, 0, 30, f"partitioned by ({', '.join(TYPES)}) " + properties(enableDeletionVectors="false"))


def make_vectors(session, path):
    insert(session, path, 0, 300, properties(enableDeletionVectors="true"))
    session.sql(f"delete from delta.`{path}` where id % 10 = 3")
    session.sql(f"update delta.`{path}` set small = -1, person.first = 'changed' where id % 10 = 4")
    merge(session, path, 290, 320)


def make_mapped(session, path, mode):
    insert(session, path, 0, 100, "partitioned by (part) " + properties(columnMapping_mode=mode))
    session.sql(f"alter table delta.`{path}` rename column big to large")
    session.sql(f"alter table delta.`{path}` rename column person.first to given")
    session.sql(f"alter table delta.`{path}` drop column short")
    session.sql(f"alter table delta.`{path}` add column later string")
    session.sql(f"update delta.`{path}` set later = 'x' where id < 10")


def make_change_feed(session, path):
    insert(session, path, 0, 100, properties(enableChangeDataFeed="true"))
    session.sql(f"update delta.`{path}` set small = 7 where flag")
    session.sql(f"delete from delta.`{path}` where id < 10")
    merge(session, path, 90, 120)


def make_evolved(session, path):
    insert(session, path, 0, 50, properties(enableTypeWidening="true"))
    session.sql(f"alter table delta.`{path}` add columns (added string, deep struct<a: int, b: array<int>>)")
    session.sql(f"alter table delta.`{path}` alter column small type bigint")
    session.sql(f"alter table delta.`{path}` alter column tiny type int")
    session.sql(f"alter table delta.`{path}` alter column money type decimal(20,4)")
    session.sql(f"update delta.`{path}` set added = 'y', deep = named_struct('a', 1, 'b', array(1, 2)) where id > 40")


def make_checkpointed(session, path, **more):
    insert(session, path, 0, 20, properties(checkpointInterval="3", enableDeletionVectors="true", **more))
    for turn in range(1, 5):
        session.sql(f"delete from delta.`{path}` where id = {turn}")


def make_maintained(session, path):
    insert(session, path, 0, 60, properties(enableDeletionVectors="true"))
    for turn in range(1, 3):
        insert(session, path, turn * 60, turn * 60 + 60)
        session.sql(f"delete from delta.`{path}` where id % 11 = {turn}")
    session.sql(f"optimize delta.`{path}` zorder by (big)")
    session.sql(f"vacuum delta.`{path}` retain 0 hours")


def make_restored(session, path):
    make_vectors(session, path)
    session.sql(f"restore table delta.`{path}` to version as of 1")


def make_clustered(session, path):
    insert(session, path, 0, 60, "cluster by (big) " + properties(enableRowTracking="true"))
    insert(session, path, 60, 90)


# Name → (features, how it is made, is its first version still whole?)
TABLES = {
    "appended": ("append; nested columns", make_appended, True),
    "partitioned": ("partitioned", make_partitioned, True),
    "vectors": ("deletion vectors", make_vectors, True),
    "mapped_by_name": ("column mapping", lambda session, path: make_mapped(session, path, "name"), True),
    "mapped_by_id": ("column mapping", lambda session, path: make_mapped(session, path, "id"), True),
    "change_feed": ("change feed", make_change_feed, True),
    "evolved": ("evolved schema; widened types", make_evolved, True),
    "checkpointed": ("checkpoints", make_checkpointed, True),
    "v2_checkpointed": ("checkpoints", lambda session, path: make_checkpointed(session, path, checkpointPolicy="v2"), True),
    "maintained": ("optimized, vacuumed", make_maintained, False),
    "restored": ("restored", make_restored, True),
    "clustered": ("append; nested columns", make_clustered, True),
}
