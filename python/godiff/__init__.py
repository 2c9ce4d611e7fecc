"""Finds the lowest-energy arrangement of atoms from an energy function alone (GO-Diff, arXiv:2510.13448).

Three lines for a search:

    slab = ase.build.fcc111("Pt", (4, 4, 3), vacuum=10)
    run = godiff.search(template=slab, free="Pt7", calculator=EMT(), confinement=(1.0, 6.0), out="runs/pt7")
    run.best

Units are those of ASE: Å, eV, eV/Å; temperatures are kT in eV. Bad input raises ValueError with one sentence, a run or a potential
that fails RuntimeError, a disk that fails OSError.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from godiff._core import __version__

if TYPE_CHECKING:
    from godiff._model import Model
    from godiff._run import Report, Run, Runs, Table, open
    from godiff._search import baseline, benchmark, keys, search, threads
    from godiff._tools import evaluate, relax, same_structure

__all__ = [
    "Model",
    "Report",
    "Run",
    "Runs",
    "Table",
    "__version__",
    "baseline",
    "benchmark",
    "evaluate",
    "keys",
    "open",
    "relax",
    "same_structure",
    "search",
    "threads",
]

# The program `godiff` starts through this package too, and needs neither ASE nor NumPy.
_HOMES = {
    "_model": ("Model",),
    "_run": ("Report", "Run", "Runs", "Table", "open"),
    "_search": ("baseline", "benchmark", "keys", "search", "threads"),
    "_tools": ("evaluate", "relax", "same_structure"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"godiff.{module}"), name)
    raise AttributeError(f"module 'godiff' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
