"""The lookup service that a team would write in an afternoon: FastAPI, uvicorn, one worker.

  service.py --port PORT --dictionary FILE     GET /member/{id} out of a dictionary of NDJSON
"""
import argparse
import json

import uvicorn
from fastapi import FastAPI, HTTPException, Response

app = FastAPI()
members = {}


@app.get("/member/{member_id}")
async def member(member_id: str):
    found = members.get(member_id)
    if found is None:
        raise HTTPException(404)
    return Response(json.dumps({"member": found}), media_type="application/json")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--dictionary", required=True)
    arguments = parser.parse_args()
    with open(arguments.dictionary, encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            members[record["member_id"]] = record
    uvicorn.run(app, host="127.0.0.1", port=arguments.port, log_level="error", access_log=False,
                loop="uvloop", http="httptools")


if __name__ == "__main__":
    main()
