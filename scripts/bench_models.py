#!/usr/bin/env python3
"""Makes the two models that `make bench` also measures, into DIR: they are as large as real ones, and not trained for anything.

    target/venv/bin/python scripts/bench_models.py DIR

- `boosted-trees`: 500 trees of depth 3 on 30 numbers, and as `boosted-trees.1000.json` a request of a thousand rows.
- `plant-seedlings`: the course's network (30 MB) with random weights, on two photos; `make seedlings` trains it.

Does nothing when both are there and were made by the same scripts.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "python"))


def boosted_trees(folder: Path) -> None:
    import numpy as np
    import pandas as pd
    from sklearn.ensemble import GradientBoostingRegressor

    from seaworthy_export import export

    random = np.random.default_rng(0)
    rows = pd.DataFrame(random.normal(size=(2_000, 30)).round(3), columns=[f"x{at}" for at in range(30)])
    target = rows["x0"] * rows["x1"] + np.sin(rows["x2"]) + random.normal(0, 0.1, len(rows))
    model = GradientBoostingRegressor(n_estimators=500, max_depth=3, random_state=0).fit(rows, target)
    export(model, name="boosted-trees", version="1.0.0", inputs=rows, models_dir=folder, created="2026-01-01T00:00:00Z")
    text = json.dumps({"inputs": rows.head(1_000).to_dict(orient="records")})
    (folder / "boosted-trees.1000.json").write_text(text, encoding="utf-8")


def seedlings(folder: Path) -> None:
    command = [sys.executable, str(ROOT / "python/models/seedlings.py"), str(folder), "--epochs", "0"]
    paths = os.pathsep.join(str(ROOT / part) for part in ("python", "python/models"))
    environment = dict(os.environ, PYTHONPATH=paths, SOURCE_DATE_EPOCH="1795219200")
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    for photo in sorted((ROOT / "tests/data/plant-seedlings").glob("*.png"))[:1]:
        shutil.copy(photo, folder / "plant-seedlings.png")


def made_by() -> str:
    """A digest of what decides about the models here; not of the exporter, which they are only an occasion for."""
    sources = [Path(__file__), ROOT / "python/models/seedlings.py", ROOT / "python/models/networks.py"]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / "made-by.sha256"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != made_by():
        for model in ("boosted-trees", "plant-seedlings"):
            shutil.rmtree(folder / model, ignore_errors=True)
            for file in folder.glob(f"{model}.*"):
                file.unlink()
    if not (folder / "boosted-trees.1000.json").exists():
        boosted_trees(folder)
    if not (folder / "plant-seedlings.png").exists():
        seedlings(folder)
    stamp.write_text(made_by(), encoding="utf-8")


if __name__ == "__main__":
    main()
