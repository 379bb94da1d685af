from __future__ import annotations

import os
import sys
from pathlib import Path

# Small data on a shared machine: threads would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[2]
# The tests test the source tree, installed or not.
sys.path[:0] = [str(ROOT / "python"), str(Path(__file__).parent)]
