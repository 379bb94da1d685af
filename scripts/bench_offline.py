"""Measures `seaworthy predict` against the Python pipeline that the model was exported from, in one run.

    python scripts/bench_offline.py [--rows 1000000] [--binary target/release/seaworthy] [--python target/venv-2023/bin/python]

The rows are those of tests/data/house-prices/test.csv that the model predicts, tiled. The Python pipeline predicts a DataFrame that is
already in memory; the command reads CSV (then Parquet), predicts and writes the same format, into a file that was not there before. The
best of some runs counts, for both. Exits 1 if it is less than 25 times as fast, needs 200 MB or more, if Parquet is not faster than CSV, or if
a value is not what the server answers, to the bit. The server also logs 100,000 requests, good and bad, which are replayed.

Writes the table of docs/offline.md with `--write`.
"""

from __future__ import annotations

import argparse
import csv
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "tests/data/house-prices/test.csv"
MODEL = "house-prices@3.2.0"
DOCS = ROOT / "docs/offline.md"
BEGIN, END = "<!-- written by make bench-offline: begin -->", "<!-- written by make bench-offline: end -->"
RUNS = 5

PYTHON = r"""
import sys, time, warnings
warnings.simplefilter("ignore")
import joblib, pandas as pd, regression_model
from pathlib import Path
sys.path[:0] = ["python", "python/models"]
from house_prices import FEATURES, RENAMED, read_rows
pickle = Path(regression_model.__file__).parent / "trained_models" / "regression_model_output_v3.2.0.pkl"
pipeline = joblib.load(pickle)
rows = read_rows(Path(sys.argv[1]))[FEATURES]
rates = []
for _ in range(3):
    start = time.perf_counter()
    predictions = pipeline.predict(rows)
    rates.append(len(predictions) / (time.perf_counter() - start))
print(len(predictions), max(rates))
"""


def tile(n_rows: int, path: Path) -> list[dict[str, str]]:
    """Writes `n_rows` good rows, and returns the distinct ones."""
    needed = {field["name"]: field for field in manifest()["inputs"]}
    renamed = {alias: field["name"] for field in needed.values() for alias in field.get("aliases", [])}
    with DATA.open(newline="") as file:
        header, *rows = list(csv.reader(file))

    def is_good(row: list[str]) -> bool:
        return all(
            cell != "NA" or needed[renamed.get(name, name)].get("nullable")
            for name, cell in zip(header, row, strict=True)
            if renamed.get(name, name) in needed
        )

    good = [row for row in rows if is_good(row)]
    text = "".join(",".join(row) + "\n" for row in good)
    with path.open("w") as file:
        file.write(",".join(header) + "\n")
        whole, rest = divmod(n_rows, len(good))
        for _ in range(whole):
            file.write(text)
        file.write("".join(",".join(row) + "\n" for row in good[:rest]))
    return [dict(zip(header, row, strict=True)) for row in good]


def manifest() -> Any:
    return json.loads((ROOT / "models/house-prices/3.2.0/manifest.json").read_text())


def predict(binary: Path, source: Path, target: Path, *options: str) -> tuple[float, float, float]:
    """Seconds, megabytes at most and seconds of processor time of one run."""
    command = [binary, "predict", MODEL, source, "--output", target, "--quiet", *options]
    # To replace a file costs more than to write one: what was there before is thrown away.
    target.unlink(missing_ok=True)
    start = time.perf_counter()
    process = subprocess.Popen([str(part) for part in command], cwd=ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{command} failed: {process.returncode}")
    return seconds, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime


def typed(row: dict[str, str]) -> dict[str, Any]:
    """The row as a client sends it."""
    kinds = {}
    for field in manifest()["inputs"]:
        for name in [field["name"], *field.get("aliases", [])]:
            kinds[name] = field["type"]
    value = {"int": int, "float": float, "string": str}
    return {name: None if cell == "NA" else value[kinds[name]](cell) for name, cell in row.items() if name in kinds}


class Server:
    """A server that logs into a file."""

    def __init__(self, binary: Path, log: Path) -> None:
        environment = {
            **os.environ,
            "PORT": "0",
            "SEAWORTHY__SERVER__HOST": "127.0.0.1",
            "SEAWORTHY__SERVER__DRAIN_DELAY_MS": "0",
            "SEAWORTHY__LOG__PREDICTIONS": str(log),
        }
        self.process = subprocess.Popen(
            [str(binary), "serve", MODEL], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        for line in self.process.stderr:
            found = re.search(r"listening on http://127\.0\.0\.1:(\d+)", line)
            if found:
                self.port = int(found[1])
                break
        else:
            sys.exit("the server did not start")
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait()


def ask(connection: http.client.HTTPConnection, body: str, query: str = "") -> tuple[int, bytes]:
    connection.request("POST", "/v1/predict" + query, body, {"content-type": "application/json"})
    answer = connection.getresponse()
    return answer.status, answer.read()


def served(server: Server, rows: list[dict[str, str]]) -> list[float]:
    connection = server.connection()
    predictions = []
    for start in range(0, len(rows), 500):
        body = json.dumps({"inputs": [typed(row) for row in rows[start : start + 500]]})
        status, answer = ask(connection, body)
        assert status == 200, answer
        predictions += json.loads(answer)["predictions"]
    return predictions


def bodies(rows: list[dict[str, str]], n: int) -> list[tuple[str, str]]:
    """Good requests and, every tenth, bad ones."""
    good = [json.dumps({"inputs": [typed(row)]}) for row in rows]
    bad = [
        ('{"inputs": [', ""),
        ('{"inputs": []}', ""),
        ('{"inputs": [{"MSSubClass": "big"}]}', ""),
        (json.dumps([typed(rows[0]), {"LotArea": 1.5}]), ""),
        (json.dumps([typed(rows[0]), {"MSSubClass": 1.5}, typed(rows[1])]), "?on_invalid=null"),
        ('"text"', ""),
    ]
    return [bad[at // 10 % len(bad)] if at % 10 == 9 else (good[at % len(good)], "") for at in range(n)]


def write_table(rows: list[list[str]], about: str) -> None:
    """Puts the figures into the docs, between the markers."""
    text = DOCS.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    lines = [
        about,
        "",
        "| | rows/s | times Python | seconds | processor time | memory |",
        "|---|---|---|---|---|---|",
    ]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    DOCS.write_text(f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}")


def replay(binary: Path, log: Path, *options: str) -> tuple[int, Any, float]:
    start = time.perf_counter()
    command = [str(binary), "replay", str(log), "--format", "json", *options]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if not run.stdout:
        sys.exit(run.stderr)
    return run.returncode, json.loads(run.stdout), time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/seaworthy")
    parser.add_argument("--python", type=Path, default=ROOT / "target/venv-2023/bin/python")
    parser.add_argument("--write", action="store_true", help="write the table of docs/offline.md")
    options = parser.parse_args()
    binary = options.binary.resolve()
    failed = []
    table: list[list[str]] = []

    def check(what: str, passed: bool) -> None:
        print(f"  {'ok' if passed else 'FAILED'}: {what}", flush=True)
        if not passed:
            failed.append(what)

    with tempfile.TemporaryDirectory() as temporary:
        tmp = Path(temporary)
        source = tmp / "rows.csv"
        distinct = tile(options.rows, source)
        size = source.stat().st_size / 1e6
        print(f"{options.rows:,} rows, {len(distinct):,} of them distinct, {size:.0f} MB of CSV", flush=True)
        run = subprocess.run(
            [options.python, "-c", PYTHON, source], cwd=ROOT, capture_output=True, text=True, check=True
        )
        python_rate = float(run.stdout.split()[1])
        print(f"Python pipeline, predict on a DataFrame: {python_rate:,.0f} rows/s", flush=True)

        def measure(name: str, source: Path, target: Path, *more: str) -> float:
            runs = [predict(binary, source, target, *more) for _ in range(RUNS)]
            seconds, _, processor = min(runs)
            megabytes = max(megabytes for _, megabytes, _ in runs)
            rate = options.rows / seconds
            print(
                f"{name}: {rate:,.0f} rows/s ({seconds:.2f} s, {processor:.2f} s of processor time, "
                f"{megabytes:.0f} MB), {rate / python_rate:.1f} times Python",
                flush=True,
            )
            check("memory below 200 MB", megabytes < 200)
            table.append(
                [
                    name,
                    f"{rate:,.0f}",
                    f"{rate / python_rate:.1f}",
                    f"{seconds:.2f}",
                    f"{processor:.2f}",
                    f"{megabytes:.0f} MB",
                ]
            )
            return rate

        csv_all = measure("CSV to CSV, all columns", source, tmp / "all.csv")
        csv_id = measure("CSV to CSV, --keep Id", source, tmp / "id.csv", "--keep", "Id")
        check("CSV to CSV at least 25 times Python", csv_all >= 25 * python_rate)
        parquet = tmp / "rows.parquet"
        predict(binary, source, parquet, "--prefix", "before_")
        print(f"{parquet.stat().st_size / 1e6:.0f} MB of Parquet")
        parquet_all = measure("Parquet to Parquet, all columns", parquet, tmp / "all.parquet")
        parquet_id = measure("Parquet to Parquet, --keep Id", parquet, tmp / "id.parquet", "--keep", "Id")
        check("Parquet faster than CSV", parquet_all > csv_all)
        check("Parquet faster than CSV, --keep Id", parquet_id > csv_id)
        table.append(["the Python pipeline, a DataFrame in memory", f"{python_rate:,.0f}", "1", "", "", ""])
        about = (
            f"{options.rows:,} rows of houses ({size:.0f} MB of CSV, {parquet.stat().st_size / 1e6:.0f} MB of "
            f"Parquet) on {os.cpu_count()} cores, the best of {RUNS} runs each, from the start of the process to its end:"
        )

        log = tmp / "predictions.log"
        server = Server(binary, log)
        expected = [repr(value) for value in served(server, distinct)]
        with (tmp / "all.csv").open(newline="") as file:
            lines = iter(file)
            at = next(lines).rstrip("\n").split(",").index("prediction")
            same = sum(
                repr(float(line.split(",")[at])) == expected[row % len(expected)] for row, line in enumerate(lines)
            )
        check(f"{same:,} of {options.rows:,} values of CSV are the server's, to the bit", same == options.rows)
        predict(binary, tmp / "all.parquet", tmp / "back.csv", "--keep", "prediction", "--prefix", "again_")
        with (tmp / "back.csv").open() as file:
            next(file)
            same = sum(
                repr(float(line.split(",")[0])) == expected[row % len(expected)] for row, line in enumerate(file)
            )
        check(f"{same:,} of {options.rows:,} values of Parquet are the server's, to the bit", same == options.rows)

        requests = bodies(distinct, options.requests)

        def client(part: list[tuple[str, str]]) -> None:
            connection = server.connection()
            for body, query in part:
                ask(connection, body, query)

        clients = [threading.Thread(target=client, args=(requests[at::4],)) for at in range(4)]
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join()
        server.stop()
        with log.open() as file:
            n_lines = sum(1 for _ in file)
        code, report, seconds = replay(binary, log)
        counts = report["log"]
        print(
            f"replay of {n_lines:,} requests ({counts['refused']:,} of them refused): {seconds:.1f} s, "
            f"{report['rows']:,} rows, {report['identical']:,} identical"
        )
        check("no difference", code == 0 and report["over"] == 0 and report["identical"] == report["rows"])
        code, other, seconds = replay(binary, log, "--on", "house-prices@3.3.0", "--rel-tol", "1.8e-15")
        data = tmp / "log.ndjson"
        with log.open() as file, data.open("w") as out:
            for line in file:
                record = json.loads(line)
                if record["status"] != 200:
                    continue
                inputs = record["inputs"]
                for row in inputs if isinstance(inputs, list) else [inputs]:
                    out.write(json.dumps(row) + "\n")
        run = subprocess.run(
            [str(binary), "diff", MODEL, "house-prices@3.3.0", "--data", str(data), "--rel-tol", "1.8e-15"]
            + ["--format", "json"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        diff = json.loads(run.stdout)
        print(f"replay on 3.3.0: {other['over']:,} rows over 1.8e-15; relative {other['relative']}")
        keys = ("absolute", "relative", "changes", "only_old", "only_new", "over")
        different = [f"{key}: {other[key]} and {diff[key]}" for key in keys if other[key] != diff[key]]
        check("; ".join(["replay on 3.3.0 equals diff on the same rows", *different]), not different)
    if options.write and not failed:
        write_table(table, about)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
