#!/usr/bin/env python3
"""Writes the licences of everything that is linked into the program: the crates, and the page of the documentation.

    python3 scripts/notices.py --output target/notices.txt

Reads `cargo metadata` and the licence files in the sources of the crates, which cargo has fetched. A crate without a
licence file is listed with its licence, whose standard text is there from another one. Needs Python 3.9 or newer and cargo,
or, where there is no cargo, what cargo said (--metadata) and copies of the files (--sources).
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LICENCE_FILE = re.compile(r"(licen[cs]e|copying|copyright|notice|unlicense)([-_.].*)?|.*\.license\.txt", re.IGNORECASE)
SWAGGER_UI = ROOT / "src" / "http" / "static" / "swagger-ui"
# The texts that stand for a crate's own where it brings none, by the words of its licence expression.
STANDARD = {"MIT": ROOT / "LICENSE-MIT", "Apache-2.0": ROOT / "LICENSE-APACHE"}


class Failure(Exception):
    """A sentence for the person who ran this."""


def metadata() -> dict[str, Any]:
    """What cargo says of this machine's target."""
    rustc = subprocess.run(["rustc", "--version", "--verbose"], capture_output=True, text=True, check=True, cwd=ROOT)
    [host] = re.findall(r"^host: (\S+)", rustc.stdout, re.MULTILINE)
    command = ["cargo", "metadata", "--locked", "--format-version=1", f"--filter-platform={host}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, cwd=ROOT)
    if done.returncode != 0:
        raise Failure("`cargo metadata` failed, see above.")
    return json.loads(done.stdout)


def linked(tree: dict[str, Any]) -> list[dict[str, Any]]:
    """The packages whose code is in the program, without itself, sorted."""
    packages = {package["id"]: package for package in tree["packages"]}
    nodes = {node["id"]: node for node in tree["resolve"]["nodes"]}
    root = tree["resolve"]["root"]
    found: set[str] = set()
    waiting = [root]
    while waiting:
        for dependency in nodes[waiting.pop()]["deps"]:
            id_ = dependency["pkg"]
            normal = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            # What a macro is made of runs in the compiler.
            is_macro = any("proc-macro" in target["kind"] for target in packages[id_]["targets"])
            if normal and not is_macro and id_ not in found:
                found.add(id_)
                waiting.append(id_)
    return sorted((packages[id_] for id_ in found), key=lambda package: (package["name"], package["version"]))


def texts(folder: Path) -> list[str]:
    """The licence files of a folder, which is not there where it would hold nothing else."""
    if not folder.is_dir():
        return []
    files = sorted(file for file in folder.iterdir() if file.is_file() and LICENCE_FILE.fullmatch(file.name))
    return [clean(file) for file in files if file.suffix not in (".rs", ".toml")]


def clean(file: Path) -> str:
    text = file.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n")
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")


def notices(tree: dict[str, Any], sources: Path | None) -> str:
    """The document: what is linked, then each text once with the names of those it is for."""
    lines = [
        "Seaworthy is made of its own code (LICENSE) and of the works below, with these licences.",
        "The Rust standard library (MIT OR Apache-2.0) is also part of it; ONNX Runtime is a file of its own, with its notices.",
        "",
    ]
    # By their words: many differ in line ends only.
    owners: dict[str, tuple[str, list[str]]] = {}

    def add(text: str, name: str) -> None:
        owners.setdefault(" ".join(text.split()), (text, []))[1].append(name)

    for package in linked(tree):
        name = f"{package['name']} {package['version']}"
        licence = package["license"] or "see its file"
        lines.append(f"{name}: {licence}. {package['repository'] or ''}".rstrip())
        folder = Path(package["manifest_path"]).parent
        found = texts(sources / folder.name if sources else folder)
        if not found:
            words = re.findall(r"[\w.-]+", licence)
            found = [clean(file) for word, file in STANDARD.items() if word in words][:1]
        if not found:
            raise Failure(f"{name} ({licence}) has no licence file, and there is no standard text for it here")
        for text in found:
            add(text, name)
    for text in texts(SWAGGER_UI):
        add(text, "swagger-ui")
    lines.append("swagger-ui, the page of the documentation: Apache-2.0. https://github.com/swagger-api/swagger-ui")
    for text, names in owners.values():
        lines += ["", "=" * 80, ", ".join(names), "=" * 80, "", text]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    parser.add_argument("--metadata", type=Path, metavar="FILE", help="what `cargo metadata` printed")
    parser.add_argument("--sources", type=Path, metavar="DIR", help="where each crate's files are, in NAME-VERSION")
    arguments = parser.parse_args()
    tree = json.loads(arguments.metadata.read_text(encoding="utf-8")) if arguments.metadata else metadata()
    text = notices(tree, arguments.sources)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(text, encoding="utf-8")
    print(f"{arguments.output}: {len(linked(tree))} crates, {len(text) / 1e3:.0f} kB")


if __name__ == "__main__":
    try:
        main()
    except (Failure, OSError) as failure:
        sys.exit(f"notices: {failure}")
