#!/usr/bin/env python3
"""Follows the samples of runs by iteration: how many have their free atoms in one piece, how high they lie, how many relax to a minimum.

    scripts/basins.py runs/pt-heptamer-small-001 --energy 24.99 --within 0.005 [--potential emt] [--godiff target/release/godiff]

Every evaluated sample is relaxed, whatever the run's target is: a sample in the basin of the minimum is found even where its bonds
or its energy do not show it yet. The relaxations come after the run and count as nothing. Atoms belong together up to 1.2 times the
sum of their covalent radii. Needs ASE. For the distinct minima themselves there is `godiff minima RUN --relax`.
"""
import argparse
import subprocess
import tempfile
from pathlib import Path

import ase.io
import numpy as np
from ase.data import covalent_radii
from ase.geometry import get_distances


def is_free(atoms):
    """True for every atom that no constraint fixes."""
    free = np.ones(len(atoms), bool)
    for constraint in atoms.constraints:
        free[constraint.index] = False
    return free


def in_one_piece(atoms):
    """Whether bonds lead from every free atom to every other."""
    free = is_free(atoms)
    radii = covalent_radii[atoms.numbers[free]]
    bonded = get_distances(atoms.positions[free], cell=atoms.cell, pbc=atoms.pbc)[1] < 1.2 * (radii[:, None] + radii)
    reached = np.zeros(len(radii), bool)
    reached[0] = True
    for _ in radii:
        reached = bonded[reached].any(axis=0)
    return reached.all()


def height(atoms):
    """Mean height (Å) of the free atoms above the highest fixed one."""
    free = is_free(atoms)
    return atoms.positions[free, 2].mean() - atoms.positions[~free, 2].max(initial=0.0)


def relaxed_energies(godiff, samples, potential):
    """Energies, eV, of the minima that the structures of the file `samples` lie in; infinite where there is none."""
    command = [godiff, "relax", str(samples), "--potential", potential]
    rows = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[1:]
    rows = [row.split() for row in rows]
    return [float(row[3]) if row[5:6] == ["converged"] else np.inf for row in rows if row and row[0].isdigit()]


def evaluated(godiff, run, potential):
    """What `run` evaluated, in order, and the energies of the minima, eV."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "samples.xyz"
        subprocess.run([godiff, "export", run, "-o", str(path)], check=True, stdout=subprocess.DEVNULL)
        samples, energies = ase.io.read(path, ":"), relaxed_energies(godiff, path, potential)
    if len(samples) != len(energies):
        raise SystemExit(f"{run}: {len(energies)} relaxations of {len(samples)} samples")
    kept = [k for k, atoms in enumerate(samples) if atoms.info["status"] != "too_close"]
    return [samples[k] for k in kept], np.array([energies[k] for k in kept])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--energy", type=float, required=True, help="of the minimum sought, eV")
    parser.add_argument("--within", type=float, default=0.005, help="eV")
    parser.add_argument("--potential", default="emt")
    parser.add_argument("--godiff", default="target/release/godiff")
    arguments = parser.parse_args()
    for run in arguments.runs:
        samples, energies = evaluated(arguments.godiff, run, arguments.potential)
        hits = abs(energies - arguments.energy) < arguments.within
        iterations = np.array([atoms.info["iteration"] for atoms in samples])
        pieces, heights = np.array([in_one_piece(atoms) for atoms in samples]), np.array([height(atoms) for atoms in samples])
        first = f"the first is number {hits.argmax() + 1}" if hits.any() else "none"
        print(f"{run}: of {len(samples)} evaluations {hits.sum()} in the basin, {first}")
        print("| iteration | in one piece | median height / Å | in the basin |\n|---:|---:|---:|---:|")
        for iteration in np.unique(iterations):
            here = iterations == iteration
            print(f"| {iteration} | {pieces[here].mean():.0%} | {np.median(heights[here]):.2f} | {hits[here].sum()} |", flush=True)


if __name__ == "__main__":
    main()
