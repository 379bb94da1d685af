#!/usr/bin/env python3
"""Fuzzes a server with requests made from its own OpenAPI document, and checks each answer against the document.

    make schemathesis
    python tests/schemathesis/run.py target/debug/seaworthy --examples 500 --seed 2 -- --include-path /v1/predict

The Python is that of target/venv-schemathesis, which make prepares; what stands behind -- are options of schemathesis.

The server is run three times: with unknown fields ignored, as it comes; with them rejected; and with API keys, one of
which is shown, so that a request without it or with another one must be refused. Each time it is asked with
`on_invalid=null` turned into `fail` (hooks.py), so that every invalid request must be refused, and once more without
that. Afterwards its log is read: each line is a JSON object, no answer was a fault of the server, and it ends with exit
code 0 when it is told to.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
LISTENING = re.compile(r"listening on (http://[0-9.:]+)")
READY_WITHIN_SECONDS = 60
STOPPED_WITHIN_SECONDS = 30


class Failure(Exception):
    """What the person who ran this should know."""


class Server:
    """The program on a free port, with its prediction log in a file."""

    def __init__(self, program: Path, folder: Path, unknown_fields: str, keys: str) -> None:
        self.log = folder / f"predictions-{unknown_fields}{'-keys' if keys else ''}.ndjson"
        settings = {
            "SEAWORTHY__SERVER__HOST": "127.0.0.1",
            "SEAWORTHY__SERVER__PORT": "0",
            "SEAWORTHY__SERVER__DRAIN_DELAY_MS": "0",
            "SEAWORTHY__SCHEMA__UNKNOWN_FIELDS": unknown_fields,
            "SEAWORTHY__LOG__PREDICTIONS": str(self.log),
            "SEAWORTHY__ACCESS__KEYS": keys,
            # The document is read without a key.
            "SEAWORTHY__ACCESS__OPEN_DOCS": "true",
        }
        environment = {key: value for key, value in os.environ.items() if key != "PORT"}
        self.process = subprocess.Popen(
            [program, "serve"],
            cwd=ROOT,
            env=environment | settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.messages: list[str] = []
        self.url = ""
        self.listening = threading.Event()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        if not self.listening.wait(READY_WITHIN_SECONDS) or not self.url:
            self.process.kill()
            raise Failure("the server did not start:\n" + "".join(self.messages))

    def read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.messages.append(line)
            if found := LISTENING.search(line):
                self.url = found.group(1)
                self.listening.set()
        self.listening.set()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOPPED_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Failure("the server did not stop") from None
        self.reader.join(STOPPED_WITHIN_SECONDS)
        if code != 0:
            raise Failure(f"the server ended with exit code {code}")
        if bad := [line for line in self.messages if "ERROR" in line or "panicked" in line]:
            raise Failure("the server complained:\n" + "".join(bad[:20]))

    def check_log(self) -> str:
        """How many records have which status."""
        statuses: collections.Counter[int] = collections.Counter()
        for number, line in enumerate(self.log.read_text(encoding="utf-8").split("\n")[:-1], 1):
            try:
                record = json.loads(line)
            except ValueError as error:
                raise Failure(f"line {number} of the prediction log is not JSON: {error}: {line[:200]}") from error
            statuses[record["status"]] += 1
        if faults := sum(count for status, count in statuses.items() if status >= 500):
            raise Failure(f"{faults} requests failed by the server's fault")
        return ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))


def new_key(program: Path) -> tuple[str, str]:
    """A key, and the line that lets it in."""
    found = subprocess.run([program, "key", "new", "fuzz"], cwd=ROOT, capture_output=True, text=True, check=True)
    key, line = found.stdout.strip().split("\n", 1)
    return key, line.strip()


def fuzz(url: str, folder: str, strict: bool, examples: int, seed: int, options: list[str], key: str) -> bool:
    """Whether every answer was as the document says."""
    # What the document calls invalid is only refused when `on_invalid` is not `null`. Without keys there is nothing to log in to.
    excluded = [] if strict else ["negative_data_rejection"]
    excluded += [] if key else ["ignored_auth"]
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{url}/v1/openapi.json",
        "--checks", "all",
        *(["--exclude-checks", ",".join(excluded)] if excluded else []),
        *(["--header", f"Authorization: Bearer {key}"] if key else []),
        # Once all requests have the key and nothing else, once there are other keys beside it, which is refused.
        "--generation-with-security-parameters", "false" if strict else "true",
        "--phases", "examples,coverage,fuzzing,stateful",
        "--max-examples", str(examples),
        "--seed", str(seed),
        "--generation-database", "none",
        "--suppress-health-check", "all",
        "--request-timeout", "30",
        "--continue-on-failure",
        "--no-color",
        *options,
    ]  # fmt: skip
    here = str(Path(__file__).parent)
    hooks = {"SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": here, "PYTHONDONTWRITEBYTECODE": "1"}
    environment = os.environ | (hooks if strict else {})
    # It leaves files behind where it runs.
    return subprocess.run(command, cwd=folder, env=environment, check=False).returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("program", type=Path)
    parser.add_argument("--examples", type=int, default=50, help="requests at random for each operation")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("options", nargs="*", help="options of schemathesis, behind --")
    arguments = parser.parse_args()
    conforms = True
    with tempfile.TemporaryDirectory() as folder:
        program = arguments.program.resolve()
        known = new_key(program)
        for unknown_fields, (key, line) in (("ignore", ("", "")), ("reject", ("", "")), ("ignore", known)):
            server = Server(program, Path(folder), unknown_fields, line)
            try:
                for strict in (True, False):
                    conforms &= fuzz(server.url, folder, strict, arguments.examples, arguments.seed, arguments.options, key)
            finally:
                server.stop()
            keys = "; with a key" if key else ""
            print(f"unknown fields: {unknown_fields}{keys}; logged: {server.check_log()}", flush=True)
    if not conforms:
        raise Failure("the answers are not as the document says, see above")


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"schemathesis: {failure}")
    except KeyboardInterrupt:
        sys.exit("schemathesis: stopped")
