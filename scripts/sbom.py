#!/usr/bin/env python3
"""Writes what is linked into the program as a CycloneDX 1.6 document, and validates it against the published schema.

    python3 scripts/sbom.py target/sbom.cdx.json

What there is comes out of `cargo metadata --locked` (only what the program is built of, for Linux: no test tools), the
hashes out of Cargo.lock, and ONNX Runtime, which is loaded at start, out of onnxruntime.txt beside this file. The same
sources give the same bytes. Validating needs the package cyclonedx-python-lib, which carries the schema; `make sbom`
sees to it.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLATFORM = "x86_64-unknown-linux-gnu"


class Failure(Exception):
    """A sentence for the person who ran this."""


def metadata() -> dict:
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", PLATFORM]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise Failure(f"`{' '.join(command)}` failed, see above.")
    return json.loads(done.stdout)


def checksums() -> dict[tuple[str, str], str]:
    """The SHA-256 of each package's archive, by name and version."""
    found = {}
    for block in (ROOT / "Cargo.lock").read_text().split("[[package]]"):
        keys = dict(re.findall(r'^(name|version|checksum) = "(.*)"$', block, re.MULTILINE))
        if "checksum" in keys:
            found[keys["name"], keys["version"]] = keys["checksum"]
    return found


def linked(data: dict) -> dict[str, list[str]]:
    """What each package is built of, from the program on; tools of its tests are left out."""
    nodes = {node["id"]: node for node in data["resolve"]["nodes"]}
    graph: dict[str, list[str]] = {}
    waiting = [data["resolve"]["root"]]
    while waiting:
        package = waiting.pop()
        if package in graph:
            continue
        needs = [
            dep["pkg"] for dep in nodes[package]["deps"] if any(kind["kind"] != "dev" for kind in dep["dep_kinds"])
        ]
        graph[package] = sorted(needs)
        waiting.extend(needs)
    return graph


def component(package: dict, hashes: dict[tuple[str, str], str], kind: str) -> dict:
    name, version = package["name"], package["version"]
    purl = f"pkg:cargo/{name}@{version.replace('+', '%2B')}"
    made: dict = {"type": kind, "bom-ref": purl, "name": name, "version": version}
    if package.get("description"):
        made["description"] = " ".join(package["description"].split())
    digest = hashes.get((name, version))
    if digest:
        made["hashes"] = [{"alg": "SHA-256", "content": digest}]
    if package.get("license"):
        # What Cargo wrote before SPDX expressions.
        made["licenses"] = [{"expression": re.sub(r"\s*/\s*", " OR ", package["license"])}]
    made["purl"] = purl
    if package.get("repository"):
        made["externalReferences"] = [{"type": "vcs", "url": package["repository"].strip()}]
    return made


def onnxruntime() -> dict:
    text = (ROOT / "scripts" / "onnxruntime.txt").read_text()
    found = re.search(r"^onnxruntime==(\S+)", text, re.MULTILINE)
    if not found:
        raise Failure("scripts/onnxruntime.txt names no version, expected `onnxruntime==…`.")
    purl = f"pkg:pypi/onnxruntime@{found[1]}"
    hashes = sorted(set(re.findall(r"--hash=sha256:([0-9a-f]{64})", text)))
    return {
        "type": "library",
        "bom-ref": purl,
        "name": "onnxruntime",
        "version": found[1],
        "description": "The shared library out of the wheel, loaded at start; one hash for each platform's wheel",
        "hashes": [{"alg": "SHA-256", "content": digest} for digest in hashes],
        "licenses": [{"expression": "MIT"}],
        "purl": purl,
    }


def document() -> dict:
    data, hashes = metadata(), checksums()
    packages = {package["id"]: package for package in data["packages"]}
    graph = linked(data)
    root = data["resolve"]["root"]
    refs = {id: f"pkg:cargo/{packages[id]['name']}@{packages[id]['version'].replace('+', '%2B')}" for id in graph}
    library = onnxruntime()
    components = [component(packages[id], hashes, "library") for id in graph if id != root]
    components.append(library)
    dependencies = {refs[id]: [refs[need] for need in needs] for id, needs in graph.items()}
    dependencies[refs[root]].append(library["bom-ref"])
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": component(packages[root], hashes, "application")},
        "components": sorted(components, key=lambda made: made["bom-ref"]),
        "dependencies": [{"ref": ref, "dependsOn": sorted(set(needs))} for ref, needs in sorted(dependencies.items())],
    }


def validate(text: str) -> None:
    try:
        from cyclonedx.schema import SchemaVersion
        from cyclonedx.validation.json import JsonStrictValidator
    except ImportError as error:
        raise Failure(f"{error}; `make sbom` installs what validating needs.") from error
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if problem is not None:
        raise Failure(f"the document does not fit its schema: {problem}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("output", type=Path)
    output = parser.parse_args().output
    made = document()
    text = json.dumps(made, indent=2, ensure_ascii=False) + "\n"
    validate(text)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text)
    print(f"{output}: {len(made['components'])} components, as CycloneDX 1.6 has it")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        sys.exit(f"error: {failure}")
