"""The service that a team would write in an afternoon: FastAPI, uvicorn, one worker.

  service.py --port PORT --dictionary FILE     GET /member/{id} out of a dictionary
  service.py --port PORT --table FOLDER        POST /batches appends NDJSON to a Delta table,
                                               GET /member/{id} filters it
"""
import argparse
import io
import json
import pathlib
import sys

import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response

sys.path.insert(0, str(pathlib.Path(__file__).parent))

app = FastAPI()
members = {}
table = {"folder": None}


@app.get("/member/{member_id}")
async def member(member_id: str):
    if table["folder"] is not None:
        return of_table(member_id)
    found = members.get(member_id)
    if found is None:
        raise HTTPException(404)
    return Response(json.dumps({"member": found}), media_type="application/json")


def of_table(member_id):
    import deltalake
    import pyarrow.dataset as ds
    dataset = deltalake.DeltaTable(table["folder"]).to_pyarrow_dataset()
    rows = dataset.to_table(filter=ds.field("member_id") == member_id).to_pylist()
    if not rows:
        raise HTTPException(404)
    return Response(json.dumps({"member": rows}, default=str), media_type="application/json")


@app.post("/batches")
async def batches(request: Request):
    import deltalake
    import tables
    records = tables.read_records(io.BytesIO(await request.body()))
    deltalake.write_deltalake(table["folder"], records, mode="append")
    return Response(json.dumps({"batch_id": "1", "rows": records.num_rows}), 202,
                    media_type="application/json")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--dictionary")
    parser.add_argument("--table")
    arguments = parser.parse_args()
    if arguments.dictionary:
        with open(arguments.dictionary, encoding="utf-8") as lines:
            for line in lines:
                record = json.loads(line)
                members[record["member_id"]] = record
    table["folder"] = arguments.table
    uvicorn.run(app, host="127.0.0.1", port=arguments.port, log_level="error", access_log=False,
                loop="uvloop", http="httptools")


if __name__ == "__main__":
    main()
