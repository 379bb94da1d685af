"""Cases of the scalers of feature-engine, which only its recent versions have."""

from __future__ import annotations

from .draw import Draw
from .harness import Case, parity


@parity("feature_engine.scaling.MeanNormalizationScaler", family="scale", generations=("current",))
def mean_normalization_scaler(draw: Draw) -> Case:
    from feature_engine.scaling import MeanNormalizationScaler

    train, test = draw.number_frames(nullable=False)
    variables = None if draw.chance() else draw.sample(list(train.columns), draw.integer(1, train.shape[1]))
    return Case(MeanNormalizationScaler(variables=variables), train, test)
