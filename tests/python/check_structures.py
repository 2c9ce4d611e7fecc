"""Writes structure files with ASE, and compares what this project made of them with ASE's own reading.

    check_structures.py write DIR    DIR/xyz/*.xyz and DIR/poscar/POSCAR-*
    check_structures.py check DIR    against DIR/xyz-back, DIR/poscar-back, DIR/poscar-again, own.xyz + own.json, elements.json
"""

import json
import sys
from pathlib import Path

import ase.data
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixCartesian, FixScaled
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
    if k % 8 == 0:
        atoms.set_constraint(FixCartesian(0, mask=rng.permutation([True, False, bool(k % 3)])))
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


# Notations that ASE reads and does not write.
XYZ = """2
Lattice='4 0 0 1 5 0 0 0 20' Properties=species:S:1:pos:R:3:tags:I:1 pbc=[T, T, F] note="it's" words='a "b" c' a=[1, 2] b={1.5 2} \\
flag 'a key'=x=y escaped="say \\"x\\" \\\\" number=5 padded=007 exponent=1e-3 text=1d3
Pt 0 0 0 1
au 1 2.5e0 3 2
"""
HEAD = "slab ! comment\n{scale}\n3 0 0\n0 3 0\n1 0 4\n{species}\n"
POSCARS = [
    HEAD.format(scale="1.0", species="Cu Au\n1 1") + "fractional\n0 0 0\n0.5 0.5 0.5\n",
    HEAD.format(scale="2.0", species="Cu Pt Au\n1 0 1") + "Kartesisch\n0 0 0\n0.5 0.5 0.5\n",
    HEAD.format(scale="-72.0", species="Na_pv Cl/1a2b\n1 1") + "cart\n0 0 0\n0.5 0.5 0.5\n",
    HEAD.format(scale="0.5 1.0 2.0", species="Cu Au\n1 1 ! counts") + "Direct\n0 0 0\n0.5 0.5 0.5\n",
    HEAD.format(scale="1.0", species="Cu Au\n1 1") + "sel\ndirect\n0 0 0 F F T\n0.5 0.5 0.5 T F T\n",
    HEAD.format(scale="1.0", species="Cu Au Cu\n1 1 1") + "S\nC\n0 0 0 F F F\n1 1 1 T T T\n2 2 2 T T T\n\n0 0 0\n0 0 0\n0 0 0\n",
]


def write_files(folder):
    rng = np.random.default_rng(1)
    (folder / "xyz" / "notations.xyz").write_text(XYZ.replace("\\\n", ""))
    for k, text in enumerate(POSCARS):
        (folder / "poscar" / f"POSCAR-by-hand-{k}").write_text(text)
    for k in range(60):
        n_frames = 1 + k % 3
        write(folder / "xyz" / f"{k:03}.xyz", [random_atoms(rng, k + 60 * f) for f in range(n_frames)], format="extxyz")
    for k in range(24):
        n = int(rng.integers(1, 9))
        atoms = Atoms(numbers=rng.integers(1, 119, n), positions=rng.normal(0, 9, (n, 3)), cell=rng.normal(0, 5, (3, 3)), pbc=True)
        if k % 3:
            atoms.set_constraint(FixAtoms(indices=np.flatnonzero(rng.integers(0, 2, n))))
        if k % 5 == 0:
            atoms.set_constraint(FixScaled([0], mask=rng.permutation([True, False, bool(k % 2)])))
        write(folder / "poscar" / f"POSCAR-{k}", atoms, format="vasp", direct=bool(k % 2), sort=k % 4 == 0)


def fixed(atoms):
    """Whether each atom is fixed along each axis: of the cell or of space, as the file has it."""
    mask = np.zeros((len(atoms), 3), bool)
    for constraint in atoms.constraints:
        assert isinstance(constraint, (FixAtoms, FixCartesian, FixScaled)), constraint
        mask[constraint.index] |= getattr(constraint, "mask", np.ones(3, bool))
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
    n_back = 0
    for path in poscars:
        atoms = read(path, format="vasp")
        compare(path.name, atoms, read(folder / "poscar-again" / path.name, format="vasp"), 1e-12)
        # Constraints along lattice vectors have no place in extended XYZ, unless they lie along the axes.
        back = folder / "poscar-back" / f"{path.name}.xyz"
        if back.exists():
            compare(path.name, atoms, read(back, format="extxyz"), 1e-12)
            n_back += 1
    assert n_back >= 20, n_back

    own = read(folder / "own.xyz", ":")
    expected = json.loads((folder / "own.json").read_text())
    assert len(own) == len(expected) > 0
    for k, (atoms, want) in enumerate(zip(own, expected)):
        assert list(atoms.numbers) == want["numbers"] and list(atoms.pbc) == want["pbc"], k
        assert list(fixed(atoms).all(axis=1)) == want["fixed"], k
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
