"""Predicts a partitioned table on Spark: every executor runs `seaworthy predict` as a filter, so no Python model is needed there.

docs/scale-out.md explains it; tests/spark/run.py proves it.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import IO

import pyarrow as pa


def predictor(
    command: list[str], environment: dict[str, str] | None = None
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A function for `DataFrame.mapInArrow`: one process for each partition, Arrow in, Arrow out."""

    def predict(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        first = next(batches, None)
        if first is None:
            return
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
        failed: list[BaseException] = []
        said: list[bytes] = []

        def feed(stdin: IO[bytes]) -> None:
            try:
                with stdin, pa.ipc.new_stream(stdin, first.schema) as writer:
                    writer.write_batch(first)
                    for batch in batches:
                        writer.write_batch(batch)
            except BaseException as error:  # It is raised again where Spark sees it.
                failed.append(error)

        assert process.stdin and process.stdout and process.stderr
        stderr = process.stderr
        threads = [
            threading.Thread(target=feed, args=(process.stdin,), daemon=True),
            threading.Thread(target=lambda: said.append(stderr.read()), daemon=True),
        ]
        for thread in threads:
            thread.start()
        try:
            with pa.ipc.open_stream(process.stdout) as reader:
                yield from reader
            threads[0].join()
        except pa.ArrowInvalid as error:
            # It ended before it wrote a table: its own words, below, are better.
            failed.append(error)
        finally:
            if process.poll() is None and failed:
                process.kill()
            code = process.wait()
        threads[1].join()
        # Half an answer must fail the task, so that Spark runs it again.
        if code != 0:
            raise RuntimeError(f"seaworthy ended with {code}: {b''.join(said).decode(errors='replace')}")
        if failed:
            raise failed[0]

    return predict
