#!/usr/bin/env python3
"""Checks every file that a platform reads against what that platform publishes, without asking the platform.

    make validate

| file | checked by |
|---|---|
| deploy/ecs.yaml | cfn-lint, with the schemas of CloudFormation that it carries |
| deploy/kubernetes/ | kubernetes-validate: the JSON schemas of Kubernetes, strictly (no key that is not there) |
| deploy/kserve/ | the classes of KServe's own package, made from its resource definitions; containers as above |
| deploy/prometheus/, deploy/grafana/ | their metrics and labels are those of docs/metrics.md; promtool, where it is installed |
| CircleCI's, this project's and the one of `seaworthy new` | check-jsonschema, with CircleCI's published schema |

Needs the packages of deploy/requirements.txt. KServe's package would bring half of the machine-learning world along, so its
wheel is downloaded, compared with its hash and only read.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import kubernetes_validate
import metrics
import yaml

DEPLOY = Path(__file__).resolve().parent
ROOT = DEPLOY.parent
sys.path.insert(0, str(ROOT / "scripts"))

from fetch_onnxruntime import pip  # its folder is known only now

KUBERNETES_VERSION = "1.37"
CIRCLECI = [ROOT / ".circleci" / "config.yml", ROOT / "src" / "cli" / "new" / "project" / "circleci.yml"]


class Kind(NamedTuple):
    """A class of KServe's package: its keys with their types, and those that must be there."""

    keys: dict[str, str]
    required: set[str]


def documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document]


def run(tool: str, *arguments: str) -> list[str]:
    """What a tool beside this Python has to say; nothing when it is content."""
    command = [str(Path(sys.executable).with_name(tool)), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [] if done.returncode == 0 else [done.stdout.strip() or done.stderr.strip()]


def kubernetes(document: dict[str, Any]) -> list[str]:
    try:
        kubernetes_validate.validate(document, KUBERNETES_VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{'.'.join(map(str, error.path))}: {error.message}"]
    except kubernetes_validate.SchemaNotFoundError as error:
        return [str(error)]
    return []


def kserve_kinds() -> dict[str, Kind]:
    """The classes in KServe's wheel, by name."""
    with tempfile.TemporaryDirectory() as folder:
        # For a Python that it is made for, whatever this one is.
        command = [*pip(), "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
        command += [
            "--python-version=3.12",
            "--require-hashes",
            "--requirement",
            str(DEPLOY / "kserve" / "requirements.txt"),
            "--dest",
            folder,
        ]
        subprocess.run(command, check=True)
        [wheel] = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if re.fullmatch(r"kserve/models/v\w+\.py", name)]
            sources = [archive.read(name).decode() for name in names]
    kinds = {}
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef):
                tables = {
                    target.id: ast.literal_eval(line.value)
                    for line in node.body
                    if isinstance(line, ast.Assign) and isinstance(line.value, ast.Dict)
                    for target in line.targets
                    if isinstance(target, ast.Name)
                }
                types, keys = tables["openapi_types"], tables["attribute_map"]
                needed = set(re.findall(r"Invalid value for `(\w+)`, must not be `None`", source))
                kinds[node.name] = Kind({keys[name]: types[name] for name in keys}, {keys[name] for name in needed})
    return kinds


SCALARS = {"str": str, "int": int, "float": (int, float), "bool": bool, "object": object}


def kserve(value: Any, type_: str, kinds: dict[str, Kind], path: str) -> list[str]:
    """What is wrong with a value that should be of this type of KServe."""
    if match := re.fullmatch(r"list\[(.+)\]", type_):
        if not isinstance(value, list):
            return [f"{path}: expected a list, found {value!r}"]
        return [e for n, item in enumerate(value) for e in kserve(item, match[1], kinds, f"{path}[{n}]")]
    if match := re.fullmatch(r"dict\(str, (.+)\)", type_):
        if not isinstance(value, dict):
            return [f"{path}: expected an object, found {value!r}"]
        return [e for key, item in value.items() for e in kserve(item, match[1], kinds, f"{path}.{key}")]
    if type_ in SCALARS:
        is_bool = isinstance(value, bool) and type_ != "bool"
        return (
            [] if isinstance(value, SCALARS[type_]) and not is_bool else [f"{path}: expected {type_}, found {value!r}"]
        )
    if (kind := kinds.get(type_)) is None:
        # A class of Kubernetes itself: `kubernetes` looks at it, inside a pod.
        return []
    if not isinstance(value, dict):
        return [f"{path}: expected an object, found {value!r}"]
    errors = [f"{path}.{key}: there is no such key in {type_}" for key in value.keys() - kind.keys.keys()]
    errors += [f"{path}: {key} is missing" for key in kind.required - value.keys()]
    for key in value.keys() & kind.keys.keys():
        errors += kserve(value[key], kind.keys[key], kinds, f"{path}.{key}")
    return errors


def kserve_document(document: dict[str, Any], kinds: dict[str, Kind]) -> list[str]:
    version = document["apiVersion"].rpartition("/")[2]
    type_ = version[0].upper() + version[1:] + document["kind"]
    if type_ not in kinds:
        return [f"KServe has no {document['kind']} in {document['apiVersion']}"]
    errors = kserve(document, type_, kinds, document["kind"])
    if "containers" in document["spec"]:
        spec = {key: document["spec"][key] for key in ("containers", "volumes") if key in document["spec"]}
        errors += kubernetes({"apiVersion": "v1", "kind": "Pod", "metadata": document["metadata"], "spec": spec})
    return errors


def check_the_check(kinds: dict[str, Kind]) -> None:
    """A check that finds nothing in what is wrong would prove nothing."""
    [runtime] = documents(DEPLOY / "kserve" / "serving-runtime.yaml")
    runtime["spec"]["supportedModelFormat"] = []
    runtime["spec"]["multiModel"] = "no"
    runtime["spec"]["containers"][0]["port"] = 1
    assert len(kserve_document(runtime, kinds)) == 3, kserve_document(runtime, kinds)
    del runtime["spec"]["containers"]
    assert len(kserve_document(runtime, kinds)) == 3, kserve_document(runtime, kinds)


def main() -> int:
    results: list[tuple[Path, list[str]]] = []
    template = DEPLOY / "ecs.yaml"
    results.append((template, run("cfn-lint", "--non-zero-exit-code", "informational", "--", str(template))))
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        results.append((path, [error for document in documents(path) for error in kubernetes(document)]))
    kinds = kserve_kinds()
    check_the_check(kinds)
    for path in sorted((DEPLOY / "kserve").glob("*.yaml")):
        results.append((path, [error for document in documents(path) for error in kserve_document(document, kinds)]))
    for path in CIRCLECI:
        results.append((path, run("check-jsonschema", "--builtin-schema", "vendor.circle-ci", str(path))))
    results += metrics.check()
    for path, errors in results:
        print(f"{path.relative_to(ROOT)}: {'valid' if not errors else 'NOT VALID'}")
        for error in errors:
            print(f"  {error}")
    return 1 if any(errors for _, errors in results) else 0


if __name__ == "__main__":
    sys.exit(main())
