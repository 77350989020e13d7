"""The services that a team would write in an afternoon: FastAPI, uvicorn, one worker. They speak as
much of our HTTP interface as bench_http uses, so that both sides are asked the same way.

  service.py --port PORT --dictionary FILE     GET /member/{id} out of a dictionary of NDJSON
  service.py --port PORT --deltalake FOLDER    batches into Delta tables, lookups by a filter: a batch
                                               that is waited for (Prefer) is merged, others appended
  service.py --port PORT --postgresql DSN      the same in front of PostgreSQL, by a pool of asyncpg
"""
import argparse
import json
import pathlib
import threading

import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from starlette.concurrency import run_in_threadpool

app = FastAPI()
KEYS = {"rx": "prescription_id", "members": "member_id"}


def answer(document, status=200):
    text = document if isinstance(document, str) else json.dumps(document, separators=(",", ":"))
    return Response(text, status_code=status, media_type="application/json")


def accepted(request):
    """Everything is durable and visible before the answer."""
    return answer({"batch_id": "b", "state": "indexed"}, 200 if "prefer" in request.headers else 202)


@app.get("/v1/batches/{batch_id}")
async def batch(batch_id: str):
    return answer({"batch_id": batch_id, "state": "indexed"})


def serve_dictionary(path):
    members = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            members[record["member_id"]] = record

    @app.get("/member/{member_id}")
    async def member(member_id: str):
        found = members.get(member_id)
        if found is None:
            raise HTTPException(404)
        return answer({"member": found})


def serve_deltalake(folder):
    import deltalake
    import tables
    folder = pathlib.Path(folder)
    writing = threading.Lock()  # a second writer would only run into conflicts

    def write(table, body, merge):
        path = folder / f"{table}.ndjson"
        with writing:
            path.write_bytes(body)
            engine = tables.Deltalake(folder / table, KEYS[table])
            if (folder / table).exists():
                (engine.merge if merge else engine.append)(path)
            else:
                engine.create(path)

    @app.post("/v1/tables/{table}/batches")
    async def post(table: str, request: Request):
        await run_in_threadpool(write, table, await request.body(), "prefer" in request.headers)
        return accepted(request)

    @app.post("/tidy")
    def tidy():
        with writing:
            for table in KEYS:
                if (folder / table).exists():
                    deltalake.DeltaTable(str(folder / table)).optimize.compact()
        return answer({})

    @app.get("/v1/members/{member_id}")
    def member(member_id: str):
        found = deltalake.DeltaTable(str(folder / "members")).to_pyarrow_table(
            filters=[("member_id", "=", member_id)]).to_pylist()
        if not found:
            raise HTTPException(404)
        return answer(json.dumps({"member": found[0]}, default=str, separators=(",", ":")))


def serve_postgresql(dsn):
    import asyncpg
    state = {}

    @app.on_event("startup")
    async def connect():
        words = dict(word.split("=", 1) for word in dsn.split())
        state["pool"] = await asyncpg.create_pool(
            host=words["host"], port=int(words["port"]), user=words["user"], database=words["dbname"],
            min_size=8, max_size=16)
        for table, key in KEYS.items():
            names = [row["attname"] for row in await state["pool"].fetch(
                "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0", table)]
            state[table] = (f"INSERT INTO {table} SELECT * FROM json_populate_recordset(NULL::{table}, "
                            f"$1::json) ON CONFLICT({key}) DO UPDATE SET "
                            + ", ".join(f"{name} = excluded.{name}" for name in names))

    @app.post("/tidy")
    async def tidy():
        await state["pool"].execute("VACUUM ANALYZE")
        return answer({})

    @app.post("/v1/tables/{table}/batches")
    async def post(table: str, request: Request):
        lines = (await request.body()).decode().strip().replace("\n", ",")
        await state["pool"].execute(state[table], f"[{lines}]")
        return accepted(request)

    @app.get("/v1/members/{member_id}")
    async def member(member_id: str):
        found = await state["pool"].fetchval(
            "SELECT row_to_json(m)::text FROM members m WHERE member_id = $1", member_id)
        if found is None:
            raise HTTPException(404)
        return answer('{"member":' + found + "}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--dictionary")
    kind.add_argument("--deltalake")
    kind.add_argument("--postgresql")
    arguments = parser.parse_args()
    if arguments.dictionary:
        serve_dictionary(arguments.dictionary)
    elif arguments.deltalake:
        serve_deltalake(arguments.deltalake)
    else:
        serve_postgresql(arguments.postgresql)
    uvicorn.run(app, host="127.0.0.1", port=arguments.port, log_level="error", access_log=False,
                loop="uvloop", http="httptools")


if __name__ == "__main__":
    main()
