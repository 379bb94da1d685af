"""The files of an artifact: how they are written, byte for byte.

Knows nothing of pipelines. The same contents give the same bytes, and a directory is either complete or not there.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import ExportError

WIDTH = 118


def pretty(value: Any) -> str:
    """JSON for people: indented, but what fits on a line stays on one, and long lists of scalars fill their lines."""
    return _pretty(value, "", 0) + "\n"


def compact(value: Any) -> str:
    """JSON on one line."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _pretty(value: Any, indent: str, used: int) -> str:
    flat = compact(value)
    if not isinstance(value, (dict, list)) or len(indent) + used + len(flat) <= WIDTH:
        return flat
    inner = indent + "  "
    if isinstance(value, dict):
        entries = []
        for key, entry in value.items():
            head = compact(key) + ": "
            entries.append(inner + head + _pretty(entry, inner, len(head) + 1))
        return "{\n" + ",\n".join(entries) + "\n" + indent + "}"
    if any(isinstance(entry, (dict, list)) for entry in value):
        return "[\n" + ",\n".join(inner + _pretty(entry, inner, 1) for entry in value) + "\n" + indent + "]"
    lines, line = [], inner
    for i, entry in enumerate(value):
        text = compact(entry) + ("," if i + 1 < len(value) else "")
        if line != inner and len(line) + 1 + len(text) > WIDTH:
            lines.append(line)
            line = inner
        line += text if line == inner else " " + text
    return "[\n" + "\n".join([*lines, line]) + "\n" + indent + "]"


def write_artifact(directory: Path, files: Mapping[str, bytes], *, overwrite: bool) -> None:
    """Writes the files and `SHA256SUMS` into a new directory, all or nothing.

    They go to a neighbour first, which is renamed at the end. An artifact that exists is replaced only on demand:
    others may have its digest in their logs.
    """
    if directory.exists() and not overwrite:
        raise ExportError(
            f"{directory} exists, and an artifact never changes once it is written\n"
            "hint: give the model a new version; to replace a draft, use overwrite=True or --overwrite"
        )
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        for path, data in files.items():
            (temporary / path).write_bytes(data)
        sums = "".join(f"{hashlib.sha256(files[path]).hexdigest()}  {path}\n" for path in sorted(files))
        (temporary / "SHA256SUMS").write_bytes(sums.encode())
        # mkdtemp makes a directory that only its owner may read, which no other user's server could open.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o777 & ~mask)
        if directory.exists():
            shutil.rmtree(directory)
        temporary.rename(directory)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def artifact_digest(directory: Path) -> str:
    """The digest that names the artifact everywhere."""
    return "sha256:" + hashlib.sha256((directory / "SHA256SUMS").read_bytes()).hexdigest()
