"""What the benchmark starts and asks: Sluice, its peers and the load programs.

The side that serves runs on the first core, the side that asks on the last, so that neither
steals from the other. Every subject keeps its data below one working folder.
"""
import json
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

SERVER_CORE = "0"
LOAD_CORE = str((os.cpu_count() or 1) - 1)
START_SECONDS = 60


class Failed(Exception):
    """A step did not do what it should; the message says which."""


def on_core(core, command):
    return ["taskset", "-c", core, *map(str, command)]


def wait_for(what, ready):
    """Poll until `ready()` gives something true."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        found = ready()
        if found:
            return found
        time.sleep(0.02)
    raise Failed(f"{what} did not come up within {START_SECONDS} s")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Programs:
    """The load programs; each prints one line of JSON."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)

    def path(self, name):
        return self.folder / name

    def ask(self, name, *arguments):
        command = on_core(LOAD_CORE, [self.path(name), *arguments])
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0 or not done.stdout.startswith("{"):
            raise Failed(f"{name} {' '.join(map(str, arguments))}: exit code {done.returncode}")
        return json.loads(done.stdout)

    def run(self, name, *arguments):
        """A program that has nothing to say."""
        subprocess.run(list(map(str, [self.path(name), *arguments])), check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def start(self, name, *arguments):
        command = on_core(LOAD_CORE, [self.path(name), *arguments])
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def records(self, kind, first, rows, seed, path):
        """A file of records for peers that read files."""
        with open(path, "wb") as out:
            command = [self.path("bench_http"), "records", kind, first, rows, seed]
            subprocess.run(list(map(str, command)), stdout=out, check=True)
        return path


class Process:
    """A server process: what it holds and what it wrote."""

    def __init__(self, pid):
        self.pid = pid

    def _all(self):
        """The process and its children, for servers of several processes."""
        pids = [self.pid]
        for pid in pids:
            try:
                children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
            except OSError:
                continue
            pids.extend(int(child) for child in children.split())
        return pids

    def peak_bytes(self):
        total = 0
        for pid in self._all():
            try:
                status = pathlib.Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            for line in status.splitlines():
                if line.startswith("VmHWM:"):
                    total += int(line.split()[1]) * 1024
        return total

    def written_bytes(self):
        total = 0
        for pid in self._all():
            try:
                counters = pathlib.Path(f"/proc/{pid}/io").read_text()
            except OSError:
                continue
            total += int(counters.split("write_bytes:")[1].split()[0])
        return total


class Sluice:
    name = "sluice"

    def __init__(self, program, folder, *flags, core=SERVER_CORE):
        self.program = program
        self.data = pathlib.Path(folder)
        self.flags = flags
        self.core = core
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.server = None
        self.start()

    def start(self):
        (self.data / "endpoint").unlink(missing_ok=True)
        command = [self.program, "serve", "--data", self.data, "--listen", "127.0.0.1:0", *self.flags]
        if self.core is not None:
            command = on_core(self.core, command)
        with open(f"{self.data}.log", "ab") as log:
            self.server = subprocess.Popen(list(map(str, command)), stderr=log, stdout=log)
        endpoint = self.data / "endpoint"
        wait_for("sluice", lambda: endpoint.exists() and endpoint.read_text().strip())
        self.url = endpoint.read_text().strip()
        self.port = int(self.url.rsplit(":", 1)[1])
        self.token = (self.data / "admin.token").read_text().strip()
        self.process = Process(self.server.pid)

    def call(self, method, path, body=None):
        request = urllib.request.Request(
            self.url + path, method=method, data=None if body is None else body.encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read() or b"null")

    def text(self, path):
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request) as answer:
            return answer.read().decode()

    def define(self, table, definition):
        self.call("PUT", f"/v1/tables/{table}", definition)

    def version(self, table):
        return self.call("GET", f"/v1/tables/{table}")["version"]

    def table_folder(self, table):
        return self.data / "tables" / table

    def kill(self):
        self.server.send_signal(signal.SIGKILL)
        self.server.wait()

    def stop(self):
        if self.server is not None and self.server.poll() is None:
            self.server.send_signal(signal.SIGTERM)
            self.server.wait()


class Helper:
    """A server of ours that prints its port and ends with its standard input."""

    def __init__(self, name, command):
        self.name = name
        self.server = subprocess.Popen(on_core(SERVER_CORE, command), stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, text=True)
        self.port = int(self.server.stdout.readline())
        self.process = Process(self.server.pid)

    def stop(self):
        self.server.stdin.close()
        self.server.wait()


def postgres_folder():
    """Where Debian has the programs of the newest version."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"),
                   key=lambda path: float(path.parts[-3]))
    if not found:
        raise Failed("PostgreSQL is not installed; Debian package postgresql")
    return found[-1].parent


class Postgres:
    """A cluster of its own, tuned for one core and durable commits, as the manual says: shared
    buffers for the data, a large write-ahead log so that checkpoints are seldom, and full-page
    writes left on because they are part of its durability."""
    name = "postgresql"
    SETTINGS = {
        "shared_buffers": "4GB", "max_wal_size": "16GB", "checkpoint_timeout": "30min",
        "work_mem": "256MB", "maintenance_work_mem": "1GB", "synchronous_commit": "on",
        "wal_compression": "off", "max_connections": "100", "listen_addresses": "127.0.0.1",
        "jit": "off", "autovacuum": "on",
    }

    def __init__(self, folder):
        self.bin = postgres_folder()
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True)
        self.user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres")
            for parent in self.folder.parents:
                if parent == pathlib.Path(tempfile.gettempdir()):
                    break
                parent.chmod(parent.stat().st_mode | 0o011)
        self._run([self.bin / "initdb", "-D", self.folder / "data", "-A", "trust", "-U", "bench",
                   "--no-instructions"])
        self.port = free_port()
        settings = [f"-c{name}={value}" for name, value in self.SETTINGS.items()]
        command = [self.bin / "postgres", "-D", self.folder / "data", "-p", self.port,
                   f"-cunix_socket_directories={self.folder}", *settings]
        with open(f"{self.folder}.log", "ab") as log:
            self.server = subprocess.Popen(self._as_user(on_core(SERVER_CORE, command)), stdout=log,
                                           stderr=log, cwd="/")
        self.connection = f"host=127.0.0.1 port={self.port} user=bench dbname=postgres"
        wait_for("PostgreSQL", lambda: answers(self.port) and self._is_ready())
        self.process = Process(self.server.pid)

    def _as_user(self, command):
        command = list(map(str, command))
        return ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups",
                *command] if os.geteuid() == 0 else command

    def _run(self, command):
        subprocess.run(self._as_user(command), check=True, stdout=subprocess.DEVNULL, cwd="/")

    def _is_ready(self):
        command = [self.bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", self.port]
        return subprocess.run(list(map(str, command)), check=False).returncode == 0

    def database(self, name):
        """Another database of the cluster: what its connections say."""
        self._run([self.bin / "createdb", "-h", "127.0.0.1", "-p", self.port, "-U", "bench", name])
        return self.connection.replace("dbname=postgres", f"dbname={name}")

    def version(self):
        return subprocess.run([str(self.bin / "postgres"), "--version"], check=True, text=True,
                              stdout=subprocess.PIPE).stdout.split()[2]

    def stop(self):
        self.server.send_signal(signal.SIGINT)  # fast shutdown
        self.server.wait()


class Redis:
    """Every write in the append-only file and on the disk before its answer."""
    name = "redis"

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True)
        self.port = free_port()
        command = ["redis-server", "--port", self.port, "--bind", "127.0.0.1", "--dir", folder,
                   "--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        with open(f"{folder}.log", "ab") as log:
            self.server = subprocess.Popen(on_core(SERVER_CORE, command), stdout=log, stderr=log)
        wait_for("redis", lambda: answers(self.port))
        self.process = Process(self.server.pid)

    def run(self, clients, requests, keys, *operation):
        """Requests a second and latencies of redis-benchmark."""
        command = ["redis-benchmark", "-p", self.port, "-c", clients, "-n", requests, "-r", keys,
                   "--csv", *operation]
        done = subprocess.run(on_core(LOAD_CORE, command), check=True, text=True,
                              stdout=subprocess.PIPE)
        head, row = [[cell.strip('"') for cell in line.split(",")]
                     for line in done.stdout.strip().splitlines()[-2:]]
        cells = dict(zip(head, row))
        return {"per_second": float(cells["rps"]),
                "p50_us": float(cells["p50_latency_ms"]) * 1000,
                "p99_us": float(cells["p99_latency_ms"]) * 1000}

    def stop(self):
        self.server.send_signal(signal.SIGTERM)
        self.server.wait()


class PythonService:
    """A service of tests/bench/peers, in the environment of the other engines. What it keeps its
    records in is part of it."""

    def __init__(self, name, python, *arguments, prefix, store=None):
        self.name = name
        self.prefix = prefix
        self.store = store
        self.token = "none"
        self.port = free_port()
        peers = pathlib.Path(__file__).parent / "peers"
        command = [python, peers / "service.py", "--port", self.port, *arguments]
        self.server = subprocess.Popen(on_core(SERVER_CORE, command), stderr=subprocess.DEVNULL)
        wait_for(name, lambda: answers(self.port))
        self.process = Process(self.server.pid)

    def tidy(self):
        """As the manual says after many small appends."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/tidy", method="POST")
        urllib.request.urlopen(request).close()

    def stop(self):
        self.server.send_signal(signal.SIGTERM)
        self.server.wait()
        if self.store is not None:
            self.store.stop()


class PythonTable:
    """An engine as a library (tests/bench/peers/tables.py), asked over a pipe so that its start is
    not counted. It runs on the server's core; what makes its records does so before."""

    def __init__(self, python, engine, folder, **environment):
        self.name = engine
        peers = pathlib.Path(__file__).parent / "peers"
        command = [python, peers / "tables.py", engine, folder]
        self.server = subprocess.Popen(on_core(SERVER_CORE, command), stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, text=True,
                                       stderr=open(f"{folder}.log", "ab"),
                                       env={**os.environ, **environment})
        self.process = Process(self.server.pid)
        self.ask("hello")

    def ask(self, *words):
        self.server.stdin.write(json.dumps(words) + "\n")
        self.server.stdin.flush()
        line = self.server.stdout.readline()
        if not line:
            raise Failed(f"{self.name}: {words[0]} broke off")
        return json.loads(line)

    def stop(self):
        self.server.stdin.close()
        self.server.wait()
