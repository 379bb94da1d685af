#!/usr/bin/env python3
"""Makes the models of this repository from nothing but the package registry and the data in tests/data.

    python3 python/make_models.py [--check] [--test-data] [--models-dir DIR] [--python PYTHON]

Creates two virtual environments, one with the libraries of 2023 for the published pickle and one with today's, installs
what the requirements files pin, and runs the script of each model. Needs only the standard library; an environment that
is up to date is used as it is. The same sources give the same bytes: see docs/exporter.md for what that takes.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHON = ROOT / "python"
TARGET = ROOT / "target"


@dataclass(frozen=True)
class Model:
    """A model, the script that writes it and the environment that the script runs in."""

    version: str
    environment: str
    requirements: str
    script: str
    # Recorded in the manifest as the time of creation, so that it does not change with each run.
    source_date_epoch: int
    name: str = "house-prices"
    directory: str = "models"


MODELS = [
    # 2023-01-07, when the package was published.
    Model("3.2.0", "venv-2023", "requirements-2023.txt", "house_prices_3_2_0.py", 1673049600),
    # 2026-11-21, when it was trained again.
    Model("3.3.0", "venv", "requirements.txt", "house_prices_3_3_0.py", 1795219200),
    # The Titanic models beside it need rows that are not part of this repository: see models/titanic.py.
    Model("1.0.0", "venv", "requirements.txt", "linear_template.py", 1795219200, "linear-template", "examples/models"),
]


def main() -> int:
    """Runs the command; the exit code is 1 when a checked model differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--models-dir", type=Path, help="where the artifacts go (default: models/, and examples/models/ for examples)"
    )
    parser.add_argument(
        "--check", action="store_true", help="write elsewhere, and compare with what is there byte for byte"
    )
    parser.add_argument("--test-data", action="store_true", help="write tests/data/house-prices as well")
    parser.add_argument(
        "--python", help="a Python 3.11, on which both generations of libraries run (default: looked for)"
    )
    options = parser.parse_args()
    python = find_python(options.python)
    with tempfile.TemporaryDirectory() as scratch:
        kept = {
            model: options.models_dir.resolve() if options.models_dir else ROOT / model.directory for model in MODELS
        }
        for model in MODELS:
            environment = create_environment(python, model)
            run_script(environment, model, model.script, scratch if options.check else str(kept[model]))
            if options.test_data and model.name == "house-prices":
                run_script(environment, model, "make_test_data.py", model.version)
        if not options.check:
            return 0
        paths = {f"{model.name}/{model.version}": kept[model] for model in MODELS}
        names = list(paths)
        different = [name for name in names if not same(Path(scratch) / name, paths[name] / name)]
    for name in names:
        print(f"{name}: {'different' if name in different else 'the same bytes'}")
    return 1 if different else 0


def find_python(wanted: str | None) -> str:
    """An interpreter of version 3.11: no older one runs the libraries of today, no newer one those of 2023."""
    for candidate in [wanted] if wanted else [sys.executable, "python3.11", "python3", "python"]:
        path = shutil.which(candidate)
        if path is None:
            continue
        found = subprocess.run(
            [path, "-c", "import sys; print(*sys.version_info[:2], sep='.')"],
            capture_output=True,
            text=True,
            check=False,
        )
        if found.stdout.strip() == "3.11":
            return path
    raise SystemExit(
        f"error: {wanted or 'no interpreter found'} is not Python 3.11\nhint: install it, or name one with --python"
    )


def create_environment(python: str, model: Model) -> Path:
    """The interpreter of the model's environment, which the tests use too; made anew when it is stale."""
    directory = TARGET / model.environment
    files = [PYTHON / model.requirements, PYTHON / "requirements-dev.txt"]
    requirements = [part for file in files for part in ("--requirements", str(file))]
    subprocess.run([python, str(ROOT / "scripts" / "venv.py"), str(directory), *requirements], check=True)
    return directory / "bin" / "python"


def run_script(interpreter: Path, model: Model, script: str, *arguments: str) -> None:
    """Runs a script of python/models. The exporter is taken from the source tree, so that it is never a stale copy."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(PYTHON), str(PYTHON / "models")]),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "SOURCE_DATE_EPOCH": str(model.source_date_epoch),
        # Sums over several threads depend on how the work was divided.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    subprocess.run(
        [str(interpreter), str(PYTHON / "models" / script), *arguments], env=environment, cwd=ROOT, check=True
    )


def same(left: Path, right: Path) -> bool:
    """Whether two directories hold the same files with the same bytes."""
    if not (left.is_dir() and right.is_dir()):
        return False
    names = sorted(path.name for path in left.iterdir())
    if names != sorted(path.name for path in right.iterdir()):
        return False
    return filecmp.cmpfiles(left, right, names, shallow=False)[0] == names


if __name__ == "__main__":
    sys.exit(main())
