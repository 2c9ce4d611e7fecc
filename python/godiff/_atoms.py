"""Structures between ASE and the library."""

from __future__ import annotations

import json
from typing import Any

import ase
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms

Parts = dict[str, Any]

# Columns of Atoms that a calculator may need.
_COLUMNS = ("initial_magmoms", "initial_charges")
# Keys of Atoms.info that the file format uses itself.
_RESERVED = ("Lattice", "Properties", "pbc", "energy")


def fixed_atoms(atoms: ase.Atoms) -> np.ndarray:
    """Which atoms the constraints fix: N flags. Constraints other than FixAtoms are refused."""
    fixed = np.zeros(len(atoms), bool)
    for constraint in atoms.constraints:
        if not isinstance(constraint, FixAtoms):
            name = type(constraint).__name__
            raise ValueError(
                f"the structure has the constraint {name}, and godiff fixes atoms as a whole or not at all; use FixAtoms"
            )
        fixed[constraint.index] = True
    return fixed


def parts(atoms: ase.Atoms) -> Parts:
    """`atoms` as the library takes them."""
    if not isinstance(atoms, ase.Atoms):
        raise TypeError(f"a structure is an ase.Atoms here, and this is a {type(atoms).__name__}")
    columns = []
    for name in _COLUMNS:
        values = atoms.arrays.get(name)
        if values is not None and np.any(values):
            values = np.asarray(values, float).reshape(len(atoms), -1)
            columns.append((name, values.shape[1], values.ravel().tolist()))
    plain = (bool, int, float, str)
    info = {key: value for key, value in atoms.info.items() if isinstance(value, plain) and _is_word(key)}
    return {
        "numbers": atoms.numbers.astype(np.uint8).tobytes(),
        "positions": np.ascontiguousarray(atoms.positions, float).tobytes(),
        "cell": np.ascontiguousarray(atoms.cell.array, float).tobytes(),
        "pbc": [bool(flag) for flag in atoms.pbc],
        "fixed": fixed_atoms(atoms).astype(np.uint8).tobytes(),
        "columns": columns,
        "info": info,
    }


def _is_word(key: object) -> bool:
    return isinstance(key, str) and key.isidentifier() and key not in _RESERVED


def vectors(data: bytes) -> np.ndarray:
    """n × 3 numbers of the library."""
    return np.frombuffer(data).reshape(-1, 3).copy()


def bare_atoms(given: Parts) -> ase.Atoms:
    """Elements, positions, cell and periodicity alone."""
    return ase.Atoms(
        numbers=np.frombuffer(given["numbers"], np.uint8),
        positions=np.frombuffer(given["positions"]).reshape(-1, 3),
        cell=np.frombuffer(given["cell"]).reshape(3, 3),
        pbc=given["pbc"],
    )


def to_atoms(given: Parts) -> ase.Atoms:
    """Atoms with constraints, further keys and columns, and energy (eV) and forces (N × 3, eV/Å) where they are known."""
    atoms = bare_atoms(given)
    fixed = np.frombuffer(given["fixed"], np.uint8) != 0
    if fixed.any():
        atoms.set_constraint(FixAtoms(mask=fixed))
    extras = json.loads(given["extras"] or "{}")
    atoms.info.update(extras.get("info", {}))
    for name, values in extras.get("arrays", {}).items():
        atoms.set_array(name, np.array(values))
    if given["energy"] is not None:
        forces = given["forces"]
        results = {"energy": given["energy"]} | ({} if forces is None else {"forces": vectors(forces)})
        atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms
