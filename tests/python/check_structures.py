"""Writes structure files with ASE, and compares what this project made of them with ASE's own reading.

    check_structures.py write DIR    DIR/xyz/*.xyz and DIR/poscar/POSCAR-*
    check_structures.py check DIR    against DIR/xyz-back, DIR/poscar-back, own.xyz + own.json, elements.json
"""

import json
import sys
from pathlib import Path

import ase.data
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.io import read, write


def random_atoms(rng, k):
    n = int(rng.integers(1, 9))
    atoms = Atoms(numbers=rng.integers(1, 119, n), positions=rng.normal(0, 10.0 ** rng.integers(-3, 4), (n, 3)))
    pbc = rng.integers(0, 2, 3).astype(bool)
    if k % 4:
        cell = rng.normal(0, 5, (3, 3))
        if k % 4 == 1:
            # A missing vector on an axis that does not repeat.
            cell[2], pbc[2] = 0, False
        atoms.cell, atoms.pbc = cell, pbc
    if k % 3:
        atoms.set_constraint(FixAtoms(indices=rng.choice(n, int(rng.integers(1, n + 1)), replace=False)))
    if k % 2:
        results = {"energy": float(rng.normal(0, 100))}
        if k % 5:
            results["forces"] = rng.normal(0, 10, (n, 3))
        if k % 7 == 0:
            results.update(free_energy=1.0, magmoms=rng.normal(0, 1, n), stress=rng.normal(0, 1, 6))
        atoms.calc = SinglePointCalculator(atoms, **results)
    if k % 6 == 0:
        atoms.set_tags(rng.integers(0, 5, n))
        atoms.arrays["label"] = np.array([f"site{i}" for i in range(n)])
        atoms.arrays["chosen"] = rng.integers(0, 2, n).astype(bool)
        atoms.arrays["pair"] = rng.normal(0, 1, (n, 2))
    if k % 5 == 0:
        atoms.info.update(
            name=f"structure {k} of \"many\"", kT=float(rng.random()), step=k, done=bool(k % 2), vector=rng.random(3),
            counts=np.array([1, 2, 3]), nested={"a": [1, "x"]}, brackets="{a} [b] 'c'", matrix=rng.random((2, 2)), equal="a=b",
        )
    return atoms


def write_files(folder):
    rng = np.random.default_rng(1)
    for k in range(60):
        n_frames = 1 + k % 3
        write(folder / "xyz" / f"{k:03}.xyz", [random_atoms(rng, k + 60 * f) for f in range(n_frames)], format="extxyz")
    for k in range(24):
        n = int(rng.integers(1, 9))
        atoms = Atoms(numbers=rng.integers(1, 119, n), positions=rng.normal(0, 9, (n, 3)), cell=rng.normal(0, 5, (3, 3)), pbc=True)
        if k % 3:
            atoms.set_constraint(FixAtoms(indices=np.flatnonzero(rng.integers(0, 2, n))))
        write(folder / "poscar" / f"POSCAR-{k}", atoms, format="vasp", direct=bool(k % 2), sort=k % 4 == 0)


def fixed(atoms):
    mask = np.zeros(len(atoms), bool)
    for constraint in atoms.constraints:
        assert isinstance(constraint, FixAtoms), constraint
        mask[constraint.index] = True
    return mask


def same(x, y):
    if isinstance(x, dict):
        return isinstance(y, dict) and x.keys() == y.keys() and all(same(x[k], y[k]) for k in x)
    return type(x) is type(y) and np.array_equal(np.asarray(x), np.asarray(y))


def compare(name, a, b, tolerance):
    """tolerance 0: bit for bit."""
    assert list(a.numbers) == list(b.numbers), name
    assert np.allclose(a.positions, b.positions, rtol=tolerance, atol=tolerance), (name, a.positions, b.positions)
    assert np.allclose(a.cell.array, b.cell.array, rtol=tolerance, atol=tolerance), (name, a.cell, b.cell)
    assert list(a.pbc) == list(b.pbc), (name, a.pbc, b.pbc)
    assert np.array_equal(fixed(a), fixed(b)), (name, fixed(a), fixed(b))


def compare_all(name, a, b):
    compare(name, a, b, 0)
    assert same(a.info, b.info), (name, a.info, b.info)
    assert a.arrays.keys() == b.arrays.keys(), (name, a.arrays.keys(), b.arrays.keys())
    for key in a.arrays:
        assert np.array_equal(a.arrays[key], b.arrays[key]), (name, key, a.arrays[key], b.arrays[key])
    results_a, results_b = (dict(x.calc.results) if x.calc else {} for x in (a, b))
    # Only the energy itself is kept.
    results_a.pop("free_energy", None)
    assert results_a.keys() == results_b.keys(), (name, results_a, results_b)
    for key in results_a:
        assert np.array_equal(results_a[key], results_b[key]), (name, key, results_a[key], results_b[key])


def check(folder):
    n_frames = 0
    for path in sorted((folder / "xyz").iterdir()):
        before, after = (read(p, ":", format="extxyz") for p in (path, folder / "xyz-back" / path.name))
        assert len(before) == len(after), path.name
        for a, b in zip(before, after):
            compare_all(path.name, a, b)
            n_frames += 1
    poscars = sorted((folder / "poscar").iterdir())
    for path in poscars:
        back = read(folder / "poscar-back" / f"{path.name}.xyz", format="extxyz")
        compare(path.name, read(path, format="vasp"), back, 1e-12)

    own = read(folder / "own.xyz", ":")
    expected = json.loads((folder / "own.json").read_text())
    assert len(own) == len(expected) > 0
    for k, (atoms, want) in enumerate(zip(own, expected)):
        assert list(atoms.numbers) == want["numbers"] and list(atoms.pbc) == want["pbc"], k
        assert list(fixed(atoms)) == want["fixed"], k
        assert atoms.get_potential_energy() == want["energy"], k
        for found, wanted in [
            (atoms.positions, "positions"), (atoms.cell.array, "cell"), (atoms.get_forces(apply_constraint=False), "forces"),
            (atoms.arrays["score"].reshape(-1, 3), "score"),
        ]:
            assert np.array_equal(found, want[wanted]), (k, wanted, found, want[wanted])
        info = {
            "step": k, "third": 1 / 3, "status": "too close", "looks_like_a_number": "5", "empty": "",
            "quote": "say \"F=m·a\" \\ {x}\n", "flag": False,
        }
        assert atoms.info == info, atoms.info

    elements = json.loads((folder / "elements.json").read_text())
    assert [symbol for symbol, _ in elements] == ase.data.chemical_symbols[1:]
    assert np.array_equal([radius for _, radius in elements], ase.data.covalent_radii[1:])
    print(f"{n_frames} frames, {len(poscars)} POSCAR files, {len(own)} own frames and {len(elements)} elements agree")


if __name__ == "__main__":
    verb, folder = sys.argv[1], Path(sys.argv[2])
    {"write": write_files, "check": check}[verb](folder)
