"""Trains the example model of this service and writes it into models/.

    pip install -r requirements.txt
    python train.py

Put your own data and your own pipeline here. The exporter reads the fitted pipeline; its manual is docs/exporter.md in
the repository of Seaworthy.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from seaworthy_export import export
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

DISTRICTS = {"centre": 1.5, "harbour": 1.25, "north": 1.0, "south": 0.875}


def flats(n_rows: int, seed: int) -> tuple[pd.DataFrame, pd.Series]:
    """Made-up flats, and what they cost a month."""
    random = np.random.default_rng(seed)
    area = random.integers(20, 150, n_rows).astype(float)
    rows = pd.DataFrame(
        {
            "area": area,
            "rooms": np.clip(area // 25, 1, 5).astype(int),
            "district": random.choice(list(DISTRICTS), n_rows),
            "balcony": random.random(n_rows) < 0.4,
        }
    )
    factor = rows["district"].map(DISTRICTS).astype(float)
    rent = 200 + 9 * area * factor + 40 * rows["balcony"] + random.normal(0, 25, n_rows)
    return rows, rent.round(2)


def main(models_dir: Path) -> None:
    """Trains and exports."""
    rows, rent = flats(400, seed=1)
    pipeline = Pipeline(
        [
            (
                "columns",
                ColumnTransformer(
                    [
                        ("numbers", StandardScaler(), ["area", "rooms"]),
                        ("district", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["district"]),
                        ("balcony", "passthrough", ["balcony"]),
                    ]
                ),
            ),
            ("model", Ridge(alpha=1.0)),
        ]
    ).fit(rows, rent)
    test_rows, test_rent = flats(200, seed=2)
    export(
        pipeline,
        name="rents",
        version="1.0.0",
        inputs=rows,
        models_dir=models_dir,
        description="What a flat costs a month: an example on made-up data",
        fields={
            "area": {"description": "Living area, square metres"},
            "rooms": {"description": "Rooms without kitchen and bath"},
            "district": {"description": "Part of the town"},
            "balcony": {"description": "Whether there is a balcony"},
        },
        metrics={"test_r2": float(pipeline.score(test_rows, test_rent))},
    )


if __name__ == "__main__":
    main(Path(__file__).resolve().parent / "models")
