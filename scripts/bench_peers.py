#!/usr/bin/env python3
"""Measures other people's servers with the house model's graph, and Seaworthy beside them.

    python3 scripts/bench_peers.py --server target/release/seaworthy

`make bench-peers` calls this. Each peer is installed into an environment of its own in target/bench-peers, and gets the graph with numeric
tensors only: no preprocessing, no validation of fields, no log. Seaworthy is measured as it is served, with all three. Needs
`wrk` on the PATH and Python 3.9 or newer.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

from bench import ROOT, Bench, Failure, free_port, running, show, wait_until_ready

HOME = ROOT / "target" / "bench-peers"
GRAPH = ROOT / "models" / "house-prices" / "3.2.0" / "model.onnx"

SESSION = """
import numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession({graph!r}, options)
name = session.get_inputs()[0].name
"""

FASTAPI = """
from fastapi import FastAPI, Request
app = FastAPI()
@app.get("/health")
def health():
    return "ready"
@app.post("/v1/predict")
async def predict(request: Request):
    rows = (await request.json())["inputs"]
    return {"predictions": session.run(None, {name: numpy.array(rows)})[0].ravel().tolist()}
"""

LITSERVE = """
import litserve
class Api(litserve.LitAPI):
    def setup(self, device):
        pass
    def decode_request(self, request):
        return numpy.array(request["inputs"])
    def predict(self, rows):
        return session.run(None, {name: rows})[0]
    def encode_response(self, output):
        return {"predictions": output.ravel().tolist()}
if __name__ == "__main__":
    import sys
    server = litserve.LitServer(Api(api_path="/v1/predict"), accelerator="cpu", workers_per_device=2)
    server.run(port=int(sys.argv[1]), generate_client_file=False)
"""

BENTOML = """
import bentoml
@bentoml.service(workers=2)
class Houses:
    @bentoml.api(route="/v1/predict")
    def predict(self, inputs: list[list[float]]) -> dict:
        return {"predictions": session.run(None, {name: numpy.array(inputs)})[0].ravel().tolist()}
"""

MLSERVER = """
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse
class Houses(MLModel):
    async def load(self):
        return True
    async def predict(self, payload):
        rows = NumpyCodec.decode_input(payload.inputs[0])
        found = session.run(None, {name: rows})[0]
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("predictions", found)])
"""

# For each peer: its packages, its program, its command, the path of its health check and of its predictions.
PEERS = {
    "FastAPI + onnxruntime, one worker": (
        ["fastapi", "uvicorn[standard]"], FASTAPI,
        ["bin/uvicorn", "main:app", "--port", "PORT", "--log-level", "error"], "/health", "/v1/predict",
    ),
    "FastAPI + onnxruntime, two workers": (
        ["fastapi", "uvicorn[standard]"], FASTAPI,
        ["bin/uvicorn", "main:app", "--port", "PORT", "--log-level", "error", "--workers", "2"],
        "/health", "/v1/predict",
    ),
    "LitServe": (["litserve"], LITSERVE, ["bin/python", "main.py", "PORT"], "/health", "/v1/predict"),
    "BentoML": (["bentoml"], BENTOML, ["bin/bentoml", "serve", "main:Houses", "--port", "PORT"], "/healthz", "/v1/predict"),
    "MLServer": (["mlserver"], MLSERVER, ["bin/mlserver", "start", "."], "/v2/health/ready", "/v2/models/houses/infer"),
}  # fmt: skip


def prepare(title: str, packages: list[str], program: str) -> Path:
    """The folder of a peer, with its environment and its program."""
    # Both ways to run FastAPI share one.
    folder = HOME / title.split()[0].lower()
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "venv/bin/python").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
        subprocess.run(
            [str(folder / "venv/bin/python"), "-m", "pip", "install", "--quiet", "onnxruntime", "numpy", *packages],
            check=True,
        )
    (folder / "main.py").write_text(SESSION.format(graph=str(GRAPH)) + program, encoding="utf-8")
    return folder


def features(title: str) -> str:
    """A request of one row, as numbers."""
    for line in (GRAPH.parent / "golden.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if "features" in row:
            values = [0.0 if value is None else value for value in row["features"]]
            if title == "MLServer":
                tensor = {"name": "x", "shape": [1, len(values)], "datatype": "FP64", "data": values}
                return json.dumps({"inputs": [tensor]})
            return json.dumps({"inputs": [values]})
    raise Failure("no golden row has features")


def rate(port: int, path: str, body: Path, seconds: int) -> tuple[float, float]:
    """Requests a second at 32 connections, and the median latency in milliseconds."""
    script = body.with_suffix(".lua")
    script.write_text(
        f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
        f'local file = io.open("{body}")\nwrk.body = file:read("*a")\nfile:close()\n'
        "done = function(summary, latency)\n"
        "  io.write(string.format('\\nRESULT %d %f %d %f\\n', summary.requests, summary.duration / 1e6,\n"
        "    summary.errors.status + summary.errors.connect + summary.errors.read, latency:percentile(50)))\nend\n",
        encoding="utf-8",
    )
    command = ["wrk", "-t", "2", "-c", "32", "-d", f"{seconds}s", "--latency", "-s", str(script)]
    url = f"http://127.0.0.1:{port}{path}"
    found = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
    requests, duration, bad, p50 = found.rsplit("RESULT ", 1)[1].split()
    if int(bad):
        raise Failure(f"{bad} of {requests} requests failed")
    return int(requests) / float(duration), float(p50) / 1e3


def measure(title: str, seconds: int) -> tuple[float, float]:
    packages, program, command, health, path = PEERS[title]
    folder = prepare(title, packages, program)
    body = folder / "body.json"
    body.write_text(features(title), encoding="utf-8")
    port = free_port()
    if title == "MLServer":
        ports = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port(), "parallel_workers": 0}
        (folder / "settings.json").write_text(json.dumps({"debug": False, **ports}), encoding="utf-8")
        model = {"name": "houses", "implementation": "main.Houses"}
        (folder / "model-settings.json").write_text(json.dumps(model), encoding="utf-8")
    words = [str(folder / "venv" / command[0]), *(word.replace("PORT", str(port)) for word in command[1:])]
    with open(folder / "log.txt", "wb") as log:
        process = subprocess.Popen(words, cwd=folder, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_until_ready(port, process, 120, health)
            rate(port, path, body, 1)
            return rate(port, path, body, seconds)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--server", required=True)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--only", choices=sorted(PEERS), action="append")
    options = parser.parse_args()
    if not shutil.which("wrk"):
        raise Failure("`wrk` is not on the PATH; Debian has it as the package wrk")
    HOME.mkdir(parents=True, exist_ok=True)
    lines = []
    server = str(Path(options.server).resolve())
    bench = Bench(server, "", "", "", HOME, options.seconds, 1, HOME)
    with running([server, "serve"], HOME / "predictions.ndjson") as ours:
        bench.closed(ours, 1, 32, 1)
        load = bench.closed(ours, 1, 32)
        lines.append(("Seaworthy: 80 fields, validation, preprocessing, log", load.rate, load.p50 / 1e3))
    for title in options.only or PEERS:
        show(f"{title} …")
        lines.append((f"{title}: 37 numbers", *measure(title, options.seconds)))
    print("| server | requests/s | p50 ms |\n|---|---:|---:|")
    for title, found, p50 in lines:
        print(f"| {title} | {found:,.0f} | {p50:.2f} |")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        show(f"error: {failure}")
        sys.exit(1)
