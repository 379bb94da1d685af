"""Which function turns which fitted class into steps.

Knows nothing of any particular class: the ones that ship with the package are registered by `converters`.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, Callable, TypeVar

from .values import class_name

if TYPE_CHECKING:
    from .context import Context

Converter = Callable[[Any, "Context"], None]
F = TypeVar("F", bound=Converter)

_CONVERTERS: dict[str, Converter] = {}


def register_converter(target: str | type) -> Callable[[F], F]:
    """Registers the decorated function as the converter of a class.

    `target` is the class itself or its full name, as `package.module.Class`. A name may leave out trailing modules:
    `sklearn.preprocessing.MinMaxScaler` also finds the class that lives in `sklearn.preprocessing._data`, so that one
    name fits every version of a library. A subclass is not found through its parent, because it may compute something
    else: register it on its own. A second registration replaces the first.

    The function is called with the fitted object and a `Context`, and emits steps through the latter:

        @register_converter("regression_model.processing.features.Mapper")
        def convert_mapper(step: Any, ctx: Context) -> None:
            for variable in step.variables:
                ctx.map_dict(variable, step.mappings)
    """
    name = target if isinstance(target, str) else class_name(target)
    if "." not in name:
        raise ValueError(
            f"register_converter takes a class or a full name such as `package.module.{name}`, not `{name}`"
        )

    def register(function: F) -> F:
        _CONVERTERS[name] = function
        return function

    return register


def find_converter(cls: type) -> Converter | None:
    """The converter of exactly this class, or None. The longest registered name wins."""
    best: str | None = None
    for name in _CONVERTERS:
        if names_class(name, cls) and (best is None or len(name) > len(best)):
            best = name
    return None if best is None else _CONVERTERS[best]


def names_class(name: str, cls: type) -> bool:
    """Whether this is the name of the class, perhaps without trailing modules."""
    if name == class_name(cls):
        return True
    module, _, short = name.rpartition(".")
    return short == cls.__qualname__ and cls.__module__.startswith(module + ".")


def converter_of(target: type) -> Converter:
    """The converter of a class, for registering it for another class that transforms in the same way."""
    converter = find_converter(target)
    if converter is None:
        raise KeyError(f"no converter is registered for {class_name(target)}")
    return converter


def known_parent(cls: type) -> type | None:
    """The nearest class above this one that has a converter."""
    for parent in cls.__mro__[1:]:
        if find_converter(parent) is not None:
            return parent
    return None


def known_near(cls: type) -> list[str]:
    """Registered names that someone who wrote this class may have meant: those of its library, then similar ones."""
    package = cls.__module__.split(".")[0]

    def rank(name: str) -> tuple[bool, float]:
        likeness = difflib.SequenceMatcher(None, name.rpartition(".")[2], cls.__qualname__).ratio()
        return name.split(".")[0] != package, -likeness

    ranked = sorted((rank(name), name) for name in _CONVERTERS)
    return [name for (foreign, likeness), name in ranked if not foreign or likeness < -0.5][:6]
