"""Runs `seaworthy predict` in the executors of a real Spark cluster on this machine, and kills one of them.

    python tests/spark/run.py [BINARY] [--rows N]

The cluster is Spark's `local-cluster`: a master, workers, and executors in processes of their own. Each row must be in the output exactly
once, with the bits that one machine gives; so it must with `pipe` and NDJSON. Exits 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE))
DATA = ROOT / "tests/data/house-prices/train.csv"
MODEL = ROOT / "models/house-prices/3.3.0"
PARTITIONS = 16


def table(n_rows: int) -> pa.Table:
    """`n_rows` rows of the data set, over and over, each with an id of its own."""
    missing = pyarrow.csv.ConvertOptions(null_values=["NA", ""], strings_can_be_null=True)
    rows = pyarrow.csv.read_csv(DATA, convert_options=missing).drop_columns(["Id", "SalePrice"])
    tiled = pa.concat_tables([rows] * -(-n_rows // len(rows))).slice(0, n_rows).combine_chunks()
    return tiled.append_column("row_id", pa.array(range(n_rows), pa.int64()))


def executors() -> list[int]:
    """The executors that this process, through Spark's workers, has started."""
    parents: dict[int, int] = {}
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            pid = int(path.name)
            status = (path / "stat").read_text()
            parents[pid] = int(status.rpartition(")")[2].split()[1])
            if b"CoarseGrainedExecutorBackend" in (path / "cmdline").read_bytes():
                found.append(pid)
        except OSError:
            continue

    def ours(pid: int) -> bool:
        while pid > 1:
            if pid == os.getpid():
                return True
            pid = parents.get(pid, 0)
        return False

    return [pid for pid in found if ours(pid)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary", type=Path, nargs="?", default=ROOT / "target/release/seaworthy")
    parser.add_argument("--rows", type=int, default=320_000)
    options = parser.parse_args()
    binary = str(options.binary.resolve())
    # Only what is named here goes to the executors.
    import predict
    import pyspark
    from pyspark.sql import SparkSession

    command = [binary, "predict", str(MODEL), "-", "--threads", "1", "--quiet", "--keep", "row_id"]
    failed = []

    def check(what: str, passed: bool) -> None:
        print(f"  {'ok' if passed else 'FAILED'}: {what}", flush=True)
        if not passed:
            failed.append(what)

    with tempfile.TemporaryDirectory() as temporary:
        tmp = Path(temporary)
        rows = table(options.rows)
        size = -(-len(rows) // PARTITIONS)
        source = tmp / "in"
        for part in range(PARTITIONS):
            directory = source / f"part={part}"
            directory.mkdir(parents=True)
            pq.write_table(rows.slice(part * size, size), directory / "rows.parquet")
        alone = tmp / "alone"
        start = time.perf_counter()
        subprocess.run(
            [binary, "predict", str(MODEL), str(source), "--keep", "row_id", "-q", "-o", f"{alone}/"],
            check=True,
            cwd=ROOT,
        )
        seconds = time.perf_counter() - start
        print(f"one machine, no Spark: {len(rows):,} rows in {seconds:.1f} s", flush=True)
        written = pa.concat_tables([pq.ParquetFile(path).read() for path in sorted(alone.rglob("*.parquet"))])
        expected = dict(zip(written["row_id"].to_pylist(), written["prediction"].to_pylist(), strict=True))
        assert len(expected) == len(rows)

        os.environ["PYSPARK_PYTHON"] = sys.executable
        os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
        os.environ.setdefault("SPARK_HOME", str(Path(pyspark.__file__).parent))
        os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
        spark = (
            SparkSession.builder.master("local-cluster[2,1,1024]")
            .appName("seaworthy")
            .config("spark.ui.enabled", "false")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.executor.memory", "768m")
            # A partition for each file.
            .config("spark.sql.files.maxPartitionBytes", "1g")
            .config("spark.sql.files.openCostInBytes", "1g")
            .config("spark.local.dir", str(tmp / "spark"))
            .getOrCreate()
        )
        spark.sparkContext.setLogLevel("ERROR")
        spark.sparkContext.addPyFile(str(HERE / "predict.py"))
        before = executors()
        while len(before) < 2:
            time.sleep(0.1)
            before = executors()
        killed: list[int] = []
        tasks_when_killed: list[int] = []
        finished = threading.Event()

        def kill() -> None:
            """Kills an executor as soon as tasks are done and others are under way."""
            tracker = spark.sparkContext.statusTracker()
            while not finished.wait(0.02):
                for stage in tracker.getActiveStageIds():
                    info = tracker.getStageInfo(stage)
                    if info and info.numTasks > 1 and info.numCompletedTasks >= 2 and info.numActiveTasks:
                        tasks_when_killed.append(info.numCompletedTasks)
                        os.kill(before[0], signal.SIGKILL)
                        killed.append(before[0])
                        return

        killer = threading.Thread(target=kill)
        killer.start()
        output = tmp / "out"
        start = time.perf_counter()
        frame = spark.read.parquet(str(source))
        environment = dict(os.environ)
        predicted = frame.mapInArrow(
            predict.predictor([*command, "--format", "arrow"], environment),
            "row_id long, prediction double, version string",
        )
        predicted.write.parquet(str(output))
        seconds = time.perf_counter() - start
        finished.set()
        killer.join()
        print(
            f"mapInArrow: {len(rows):,} rows in {frame.rdd.getNumPartitions()} partitions in {seconds:.1f} s; executor {killed} of "
            f"{before} was killed after {tasks_when_killed} tasks",
            flush=True,
        )
        check("an executor was killed while tasks ran", len(killed) == 1)
        check("another one runs on, or instead", killed != [] and killed[0] not in executors() and executors() != [])

        def compare(what: str, pairs: list[tuple[int, float]]) -> None:
            check(f"{what}: {len(pairs):,} rows, each exactly once", sorted(row for row, _ in pairs) == list(range(len(rows))))
            same = sum(value.hex() == expected[row].hex() for row, value in pairs)
            check(f"{what}: {same:,} predictions have the bits of one machine", same == len(rows))

        found = pa.concat_tables([pq.ParquetFile(path).read() for path in sorted(output.rglob("*.parquet"))])
        compare("mapInArrow", list(zip(found["row_id"].to_pylist(), found["prediction"].to_pylist(), strict=True)))

        start = time.perf_counter()
        quoted = " ".join(f"'{part}'" for part in [*command, "--format", "ndjson"])
        # A missing value is an absent key.
        lines = frame.drop("part").toJSON()
        piped = lines.pipe(quoted, env=environment, checkCode=True)
        answers = [json.loads(line) for line in piped.collect()]
        seconds = time.perf_counter() - start
        print(f"pipe: {len(answers):,} rows in {seconds:.1f} s", flush=True)
        compare("pipe", [(answer["row_id"], answer["prediction"]) for answer in answers])
        spark.stop()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
