"""Structures without a run."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, TypeAlias

import ase

from godiff import _core
from godiff._atoms import parts, to_atoms
from godiff._calculator import potential_of

Structures: TypeAlias = "ase.Atoms | Iterable[ase.Atoms]"


def _potential(calculator: Any) -> tuple[dict[str, Any], Any]:
    if isinstance(calculator, os.PathLike) or isinstance(calculator, str) and calculator.endswith(".toml"):
        return {"config": os.fspath(calculator)}, None
    if isinstance(calculator, str) and not _is_import_path(calculator):
        return {"name": calculator}, None
    return potential_of(calculator)


def _is_import_path(text: str) -> bool:
    """Whether a text is MODULE:NAME; the parameters of a built-in potential, as in emt:asap-cutoff, are no name of Python."""
    module, colon, name = text.partition(":")
    words = f"{module}.{name}".split(".")
    return bool(colon) and "." in module and all(word.isidentifier() for word in words)


def evaluate(atoms: Structures, calculator: Any) -> list[ase.Atoms]:
    """Copies of the structures with energies (eV) and forces (N × 3, eV/Å). RuntimeError names the first one without an answer.

    calculator: as for `search`, a name with parameters such as "lennard-jones:epsilon=0.0104,sigma=3.4,cutoff=10", or a
    configuration file (.toml), whose potential is used.
    """
    potential, function = _potential(calculator)
    answers = _core.evaluate([parts(one) for one in _listed(atoms)], potential, function)
    for number, (_, reason) in enumerate(answers):
        if reason is not None:
            raise RuntimeError(f"structure {number} has no energy: {reason}")
    return [to_atoms(answer) for answer, _ in answers]


def relax(
    atoms: Structures, calculator: Any, *, fmax: float | None = None, max_steps: int | None = None
) -> list[ase.Atoms]:
    """Copies of the structures in their nearest minima, with energies (eV) and forces (N × 3, eV/Å).

    Atoms that a FixAtoms constraint fixes stay. A relaxation ends when no force on another atom exceeds `fmax` (eV/Å, 0.01 if
    left out), or after `max_steps` (1000). `info` of each says how it `ended`, and its `steps` and `evaluations`.
    """
    potential, function = _potential(calculator)
    relaxed = []
    for answer, ended, steps, evaluations in _core.relax(
        [parts(one) for one in _listed(atoms)], potential, function, fmax, max_steps
    ):
        one = to_atoms(answer)
        one.info |= {"ended": ended, "steps": steps, "evaluations": evaluations}
        relaxed.append(one)
    return relaxed


def same_structure(a: ase.Atoms, b: ase.Atoms, distance: float = 0.2) -> bool:
    """Whether two structures of one system are the same arrangement of its free atoms, each atom within `distance` (Å).

    Atoms that a FixAtoms constraint fixes are the template, and its symmetry counts; the order of like atoms, lattice translations
    and mirroring do not matter.
    """
    return _core.same_structure(parts(a), parts(b), distance)


def _listed(atoms: Structures) -> list[ase.Atoms]:
    return [atoms] if isinstance(atoms, ase.Atoms) else list(atoms)
