"""Functions of text, as a chain: what is done to each string of a column, one after the other.

    from seaworthy_export import Text

    ctx.text("cabin", Text().split(" ", 0).slice(0, 1))     # the first letter of the first cabin
    ctx.text("age", Text().number("float"))                  # float("22") = 22.0

A missing value stays missing through all of them; `ctx.fill` and `ctx.check` say otherwise before.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Union

from .patterns import translate

Pattern = Union[str, "re.Pattern[str]"]
_ABSENT = ("missing", "error")


@dataclass(frozen=True)
class Text:
    """A chain of functions; each method gives a longer one."""

    functions: tuple[Any, ...] = ()

    def _then(self, function: Any) -> Text:
        if self.functions and self.result != "text":
            raise ValueError("`length` and `number` can only be the last function of a chain")
        return Text((*self.functions, function))

    @property
    def result(self) -> str:
        """What comes out: `text`, `int` or `float`."""
        last = self.functions[-1] if self.functions else None
        if last == "length":
            return "int"
        return str(last["number"]["type"]) if isinstance(last, dict) and "number" in last else "text"

    def slice(self, start: int | None = None, stop: int | None = None, step: int | None = None) -> Text:
        """`text[start:stop:step]`."""
        given = {"start": start, "stop": stop, "step": step}
        return self._then({"slice": {key: value for key, value in given.items() if value is not None}})

    def item(self, index: int, absent: str = "missing") -> Text:
        """`text[index]`; `absent` is what becomes of a text that is too short: `missing` (`.str[index]`) or `error`."""
        return self._then({"item": {"index": index, "absent": _absent(absent)}})

    def split(self, separator: str | None, index: int, *, maximum: int | None = None, absent: str = "missing") -> Text:
        """`text.split(separator, maximum)[index]`; `absent` is what becomes of a text with fewer parts."""
        entry: dict[str, Any] = {"index": index, "absent": _absent(absent)}
        if separator is not None:
            entry["separator"] = separator
        if maximum is not None and maximum >= 0:
            entry["maximum"] = maximum
        return self._then({"split": entry})

    def lower(self) -> Text:
        """`text.lower()`."""
        return self._then("lower")

    def upper(self) -> Text:
        """`text.upper()`."""
        return self._then("upper")

    def strip(self, characters: str | None = None, side: str = "both") -> Text:
        """`text.strip(characters)`; `side` is `both`, `start` (`lstrip`) or `end` (`rstrip`)."""
        if side not in ("both", "start", "end"):
            raise ValueError(f"side is both, start or end; got {side!r}")
        entry: dict[str, Any] = {} if characters is None else {"characters": characters}
        if side != "both":
            entry["side"] = side
        return self._then({"strip": entry})

    def replace(self, find: str, replacement: str) -> Text:
        """`text.replace(find, replacement)`."""
        return self._then({"replace": {"find": find, "with": replacement}})

    def replace_pattern(self, pattern: Pattern, replacement: str) -> Text:
        """`re.sub(pattern, replacement, text)`; the replacement is plain text, without groups."""
        if "\\" in replacement:
            raise ValueError("the replacement is plain text; groups in it are not known here")
        return self._then(
            {"replace_pattern": {"pattern": translate(pattern, all_matches=True)[0], "with": replacement}}
        )

    def extract(
        self, patterns: Pattern | Sequence[tuple[Pattern, int | str]], otherwise: str | dict[str, str] = "missing"
    ) -> Text:
        r"""What the first pattern that is found in the text (`re.search`) gives.

        Each pattern comes with what it gives: the number of a group, or a text, as in
        `[(r"Mrs\.", "Mrs"), (r"(\w+)\.", 1)]`. A pattern alone gives its group 1, or all it matches when it has none.
        `otherwise` is what becomes of a text in which none is found: `missing`, `keep`, `error` or `{"value": text}`.
        """
        if isinstance(patterns, (str, re.Pattern)):
            patterns = [(patterns, 1 if re.compile(patterns).groups else 0)]
        entries = []
        for pattern, taken in patterns:
            translated, _ = translate(pattern)
            if isinstance(taken, int) and taken == 0 and translated.endswith(r"(?:\z|\n\z)"):
                raise ValueError(rf"all that {pattern!r} matches is wanted, and it ends in `$`; write \Z")
            entries.append({"pattern": translated, "group" if isinstance(taken, int) else "value": taken})
        if isinstance(otherwise, str) and otherwise not in ("missing", "keep", "error"):
            raise ValueError(f"otherwise is missing, keep, error or {{'value': …}}; got {otherwise!r}")
        return self._then({"extract": {"patterns": entries, "otherwise": otherwise}})

    def append(self, text: str) -> Text:
        """`value + text`."""
        return self._then({"append": {"text": text}})

    def prepend(self, text: str) -> Text:
        """`text + value`."""
        return self._then({"prepend": {"text": text}})

    def append_column(self, label: Any) -> Text:
        """`value + other`, row by row; missing where the other column is."""
        return self._then({"append": {"column": label}})

    def length(self) -> Text:
        """`len(text)`."""
        return self._then("length")

    def number(self, type: str = "float", otherwise: str = "error") -> Text:
        """`float(text)` or `int(text)`; a text that is no number is an error, or missing as `otherwise` says."""
        if type not in ("int", "float"):
            raise ValueError(f"type is int or float; got {type!r}")
        return self._then({"number": {"type": type, "otherwise": _absent(otherwise)}})


def _absent(absent: str) -> str:
    if absent not in _ABSENT:
        raise ValueError(f"expected missing or error; got {absent!r}")
    return absent
