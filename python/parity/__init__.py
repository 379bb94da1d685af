"""The parity suite: the real library and the Rust pipeline on the same random rows, for every class that is exported.

`python -m parity` runs it. `harness` says what a case is and compares; `draw` makes random data; each `cases_<family>`
registers a generator per class with `@parity`. Correctness is shown by this comparison and by nothing else.
"""

from .draw import Draw
from .harness import Case, parity

__all__ = ["Case", "Draw", "parity"]
