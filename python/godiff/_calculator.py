"""ASE calculators for the library: objects of this process, or import paths for workers."""

from __future__ import annotations

import contextvars
import inspect
import json
import logging
import sys
import threading
import types
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from godiff import _core
from godiff._atoms import Parts, bare_atoms

Answers = list[tuple[float, bytes, "str | None"]]
Evaluate = Callable[[list[Parts]], Answers]

_LARGEST_BATCH = 16


@lru_cache
def _worker() -> types.ModuleType:
    """The module that worker processes run: an object is asked as they ask it."""
    module = types.ModuleType("godiff.worker")
    exec(compile(_core.WORKER, "godiff/worker.py", "exec"), module.__dict__)
    log = logging.getLogger("godiff")
    module.complain = lambda: log.debug("the calculator raised", exc_info=True)  # type: ignore[attr-defined]
    return module


def evaluator(calculator: Any) -> Evaluate:
    """The function through which the library calls `calculator`, one call at a time, with the caller's context variables."""
    worker = _worker()
    ask = worker.Evaluator(calculator)
    lock = threading.Lock()
    context = contextvars.copy_context()

    def evaluate(structures: list[Parts]) -> Answers:
        atoms = [
            worker.with_extras(bare_atoms(one), json.loads(one["extras"])) if one["extras"] else bare_atoms(one)
            for one in structures
        ]
        with lock:
            results = context.run(ask, atoms)
        return [(float(energy), forces.astype(float).tobytes(), error) for energy, forces, error in results]

    return evaluate


def import_path(target: Any) -> str:
    """MODULE:NAME of a class or function."""
    module, name = target.__module__, target.__qualname__
    if module == "__main__" or "<" in name:
        raise ValueError(
            f"workers cannot import {name} from {module}; put it into a module of its own, or give a calculator object"
        )
    return f"{module}:{name}"


def potential_of(calculator: Any) -> tuple[dict[str, Any], Evaluate | None]:
    """The keys of `[potential]` for a calculator, and the function that the library calls if it is an object.

    A text with a colon is an import path, any other text the name of a built-in potential; a class or function is taken by its
    import path; everything else is an object that is called in this process.
    """
    if isinstance(calculator, dict):
        return dict(calculator), None
    if inspect.isclass(calculator) or inspect.isfunction(calculator):
        calculator = import_path(calculator)
    if isinstance(calculator, str):
        if ":" in calculator:
            return {"kind": "ase", "calculator": calculator, "python": sys.executable}, None
        return {"kind": calculator}, None
    if not callable(getattr(calculator, "get_property", None)) and not hasattr(calculator, "get_potential_energy"):
        raise ValueError(
            f"the calculator is a {type(calculator).__name__}; give a calculator of ASE, an import path such as "
            '"ase.calculators.emt:EMT", or the name of a built-in potential such as "emt"'
        )
    kind = type(calculator)
    keys: dict[str, Any] = {"kind": "object", "object": f"{kind.__module__}:{kind.__qualname__}"}
    if _worker().together(calculator) is not None:
        keys["batch"] = _LARGEST_BATCH
    return keys, evaluator(calculator)
