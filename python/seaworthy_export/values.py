"""Python, NumPy and pandas scalars as the JSON values of an artifact.

Knows nothing of fields, steps or files.
"""

from __future__ import annotations

import math
from typing import Any, Union

import numpy as np

Json = Union[None, bool, int, float, str]


def is_missing(value: object) -> bool:
    """Whether pandas would call this scalar missing: None, NaN, NaT, NA."""
    if value is None:
        return True
    if isinstance(value, (float, np.floating)):
        return bool(np.isnan(value))
    # NaT and NA are singletons of private classes; comparing the names needs neither an import nor a version check.
    return type(value).__name__ in ("NaTType", "NAType")


def json_scalar(value: object) -> Json:
    """A scalar as JSON has it; missing is None.

    Raises TypeError for anything that has no exact counterpart: an infinite number, a date, a tuple.
    """
    if is_missing(value):
        return None
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        number = float(value)
        if math.isinf(number):
            raise TypeError("an infinite number has no place in JSON")
        return number
    if isinstance(value, str):
        return str(value)
    raise TypeError(f"{value!r} (a {type(value).__name__}) is neither a number, a string nor a truth value")


def is_number(value: object) -> bool:
    """Whether this is a number; truth values count as the numbers 1 and 0, as in NumPy."""
    return isinstance(value, (bool, int, float, np.bool_, np.number))


def is_integer(value: object) -> bool:
    """Whether this is an integer by type, not by value: 5.0 is not."""
    return isinstance(value, (bool, int, np.bool_, np.integer))


def class_name(instance_or_class: Any) -> str:
    """The full name of a class, or of the class of an instance."""
    cls = instance_or_class if isinstance(instance_or_class, type) else type(instance_or_class)
    return f"{cls.__module__}.{cls.__qualname__}"
