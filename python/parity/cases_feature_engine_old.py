"""Cases of classes that feature-engine had until 1.3, where it has them: see `make parity-old`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from feature_engine import creation

from .draw import Draw
from .harness import Case, parity


def _spoiled(draw: Draw, test: pd.DataFrame) -> pd.DataFrame:
    """With a zero or a missing value now and then."""
    for name in test.columns:
        if draw.chance(0.3) and str(test[name].dtype) == "float64":
            test.loc[0, name] = draw.choice([0.0, -1.5, np.nan])
    return test


if hasattr(creation, "MathematicalCombination"):

    @parity("feature_engine.creation.MathematicalCombination", family="create", generations=("2023",))
    def mathematical_combination(draw: Draw) -> Case:
        missing = draw.choice(["raise", "ignore"])
        names = draw.names(draw.integer(2, 6))
        share = 0.2 if missing == "ignore" else 0.0
        train, test = draw.frames({name: draw.floats(missing=share, extremes=False) for name in names})
        functions = draw.sample(["sum", "prod", "mean", "std", "max", "min"], draw.integer(1, 4))
        options: dict[str, Any] = {"math_operations": draw.choice([None, functions])}
        if draw.chance(0.3):
            options = {"math_operations": functions, "new_variables_names": [f"new {f}" for f in functions]}
        chosen = draw.sample(names, draw.integer(2, len(names)))
        made = creation.MathematicalCombination(variables_to_combine=chosen, missing_values=missing, **options)
        return Case(made, train, _spoiled(draw, test))


if hasattr(creation, "CombineWithReferenceFeature"):

    @parity("feature_engine.creation.CombineWithReferenceFeature", family="create", generations=("2023",))
    def combine_with_reference_feature(draw: Draw) -> Case:
        missing = draw.choice(["raise", "ignore"])
        share = 0.2 if missing == "ignore" else 0.0
        names = draw.names(draw.integer(2, 5))
        train, test = draw.frames(
            {name: draw.floats(missing=share, extremes=False, positive=True) if draw.chance(0.8)
             else draw.ints(low=1, high=9) for name in names}
        )  # fmt: skip
        cut = draw.integer(1, len(names) - 1)
        operations = draw.sample(["sub", "div", "add", "mul"], draw.integer(1, 4))
        options: dict[str, Any] = {"operations": operations}
        if draw.chance(0.3):
            n_new = len(operations) * cut * (len(names) - cut)
            options["new_variables_names"] = [f"new {i}" for i in range(n_new)]
        made = creation.CombineWithReferenceFeature(
            variables_to_combine=names[:cut], reference_variables=names[cut:], missing_values=missing, **options
        )
        return Case(made, train, _spoiled(draw, test))
