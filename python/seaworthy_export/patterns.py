"""Python's regular expressions as those of Rust's `regex` crate, or not at all.

The pattern is parsed by Python's own parser and written anew, node by node, so that nothing means something else by
chance. Word characters, digits and white space are written out as Python classes them; word boundaries are Python's in
the artifact. What the crate does not have (look-around, back-references, possessive repeats) is refused, and so is what
it would do otherwise: `$` that matches before a last line break, patterns that match the empty text where all matches
count.

Without regard to case, Python takes `İ` and `ı` for forms of `i`; the crate does not, so they are written out.
"""

from __future__ import annotations

import importlib
import re
import sys
from typing import Any

from .errors import UnsupportedStepError

_NEW = sys.version_info >= (3, 11)
_parser: Any = importlib.import_module("re._parser" if _NEW else "sre_parse")
_c: Any = importlib.import_module("re._constants" if _NEW else "sre_constants")

_WORD = r"\p{L}\p{N}_"
_SPACE = r"\s\x1c-\x1f"
_DIGIT = r"\p{Nd}"
_I = (0x49, 0x69, 0x130, 0x131)
_FORMS_OF_I = r"Ii\x{130}\x{131}"
_REPEAT_LIMIT = 1000
_ALTERNATIVE = "look for what surrounds the match with a group, and say which group is wanted"


class _RefusedError(Exception):
    """A pattern, or a part of one, that cannot be expressed."""


def translate(pattern: str | re.Pattern[str], *, all_matches: bool = False) -> tuple[str, int]:
    """The pattern for the artifact, and how many groups it has.

    With `all_matches` the pattern is used to find or replace all matches, and must not match the empty text.
    """
    text = pattern if isinstance(pattern, str) else pattern.pattern
    if not isinstance(text, str):
        raise UnsupportedStepError(f"the pattern {text!r} is for bytes, not for text")
    compiled = re.compile(text) if isinstance(pattern, str) else pattern
    flags = compiled.flags
    try:
        if flags & re.LOCALE:
            raise _RefusedError("it depends on the locale")
        if re.compile(text, flags & ~(re.DEBUG)).flags != flags:
            raise _RefusedError("its flags cannot be read off")
        tree = _parser.parse(text, flags)
        if all_matches and tree.getwidth()[0] == 0:
            raise _RefusedError("it can match the empty text, where the two libraries go on in different ways")
        body = _sequence(tree, flags, last=not all_matches)
    except _RefusedError as error:
        raise UnsupportedStepError(
            f"the regular expression {text!r} cannot be expressed: {error}\nhint: {_ALTERNATIVE}"
        ) from None
    letters = ((re.IGNORECASE, "i"), (re.MULTILINE, "m"), (re.DOTALL, "s"))
    prefix = "".join(letter for flag, letter in letters if flags & flag)
    return (f"(?{prefix})" if prefix else "") + body, compiled.groups


def _sequence(tree: Any, flags: int, last: bool) -> str:
    nodes = list(tree)
    return "".join(_node(op, value, flags, last and i == len(nodes) - 1) for i, (op, value) in enumerate(nodes))


def _node(op: Any, value: Any, flags: int, last: bool) -> str:
    ascii_only = bool(flags & re.ASCII)
    folded = bool(flags & re.IGNORECASE) and not ascii_only
    if op is _c.LITERAL:
        return f"[{_FORMS_OF_I}]" if folded and value in _I else _literal(value)
    if op is _c.NOT_LITERAL:
        return f"[^{_FORMS_OF_I if folded and value in _I else _literal(value)}]"
    if op is _c.ANY:
        return "."
    if op is _c.IN:
        return _class(value, ascii_only, folded)
    if op is _c.BRANCH:
        return "(?:" + "|".join(_sequence(branch, flags, last) for branch in value[1]) + ")"
    if op is _c.SUBPATTERN:
        group, added, removed, inner = value
        if added or removed:
            raise _RefusedError("it changes flags within")
        return f"({'' if group is not None else '?:'}{_sequence(inner, flags, last)})"
    if op in (_c.MAX_REPEAT, _c.MIN_REPEAT):
        low, high, inner = value
        if inner.getwidth()[0] == 0 and (high is _c.MAXREPEAT or high > 1) and _has_group(inner):
            raise _RefusedError("it repeats a group that can be empty")
        bounded = high is not _c.MAXREPEAT
        if low > _REPEAT_LIMIT or (bounded and high > _REPEAT_LIMIT):
            raise _RefusedError(f"it repeats more than {_REPEAT_LIMIT} times")
        counts = f"{{{low},{high if bounded else ''}}}"
        return f"(?:{_sequence(inner, flags, False)}){counts}{'' if op is _c.MAX_REPEAT else '?'}"
    if op is _c.AT:
        return _position(value, flags, ascii_only, last)
    names = {
        "ASSERT": "it looks ahead or behind", "ASSERT_NOT": "it looks ahead or behind",
        "GROUPREF": "it refers back to a group", "GROUPREF_EXISTS": "it asks whether a group matched",
        "POSSESSIVE_REPEAT": "it has a possessive repeat", "ATOMIC_GROUP": "it has an atomic group",
    }  # fmt: skip
    raise _RefusedError(names.get(str(op), f"it has {op}"))


def _has_group(tree: Any) -> bool:
    return "SUBPATTERN" in repr(tree) or "(" in repr(tree)


def _position(value: Any, flags: int, ascii_only: bool, last: bool) -> str:
    if value in (_c.AT_BEGINNING, _c.AT_BEGINNING_STRING):
        return "^" if value is _c.AT_BEGINNING and flags & re.MULTILINE else r"\A"
    if value is _c.AT_END_STRING:
        return r"\z"
    if value is _c.AT_END:
        if flags & re.MULTILINE:
            return "$"
        if last:
            # Nothing comes after it, so that a line break may be taken into the match; groups do not hold it.
            return r"(?:\z|\n\z)"
        raise _RefusedError(r"`$` matches before a last line break as well; write \Z for the end of the text")
    if value in (_c.AT_BOUNDARY, _c.AT_NON_BOUNDARY) and not ascii_only:
        return r"\b" if value is _c.AT_BOUNDARY else r"\B"
    raise _RefusedError("it has boundaries of ASCII words")


def _class(items: Any, ascii_only: bool, folded: bool) -> str:
    parts, negated = [], False
    for op, value in items:
        if op is _c.NEGATE:
            negated = True
        elif op is _c.LITERAL:
            parts.append(_FORMS_OF_I if folded and value in _I else _literal(value))
        elif op is _c.RANGE:
            parts.append(f"{_literal(value[0])}-{_literal(value[1])}")
            if folded and any(value[0] <= code <= value[1] for code in _I):
                parts.append(_FORMS_OF_I)
        elif op is _c.CATEGORY:
            parts.append(_category(value, ascii_only))
        else:
            raise _RefusedError(f"it has {op} in a class")
    return f"[{'^' if negated else ''}{''.join(parts)}]"


def _category(value: Any, ascii_only: bool) -> str:
    kinds = {
        _c.CATEGORY_DIGIT: (_DIGIT, "0-9"),
        _c.CATEGORY_SPACE: (_SPACE, r"\t-\r\x20"),
        _c.CATEGORY_WORD: (_WORD, "0-9A-Za-z_"),
    }
    inverse = {
        _c.CATEGORY_NOT_DIGIT: _c.CATEGORY_DIGIT, _c.CATEGORY_NOT_SPACE: _c.CATEGORY_SPACE,
        _c.CATEGORY_NOT_WORD: _c.CATEGORY_WORD,
    }  # fmt: skip
    chars = kinds[inverse.get(value, value)][int(ascii_only)]
    return f"[^{chars}]" if value in inverse else chars


def _literal(code: int) -> str:
    char = chr(code)
    if char.isascii() and (char.isalnum() or char == " "):
        return char
    return f"\\x{{{code:x}}}"
