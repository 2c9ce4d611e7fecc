"""Writes tests/fixtures/emt_asap_cutoff.xyz: energies and forces of ASE's EMT with asap_cutoff=True (made with ASE 3.29).

    python tests/python/emt_asap_cutoff.py tests/fixtures/potentials.xyz.gz tests/fixtures/emt_asap_cutoff.xyz
"""

import sys

import numpy as np
from ase import Atoms
from ase.build import fcc111
from ase.calculators.emt import EMT
from ase.io import read, write

CHOSEN = ["stepped adatom 0", "alloy Pt-Cu", "alloy Au-Ag-Cu-Al", "primitive bulk Pt, cell smaller than cutoff",
          "triclinic, close contacts", "free cluster Pt7, no cell", "CO on Cu(111)", "light atoms cluster"]


def extra():
    """A thin periodic wire, and a Cu slab on which an Ag atom sets the cutoff."""
    wire = Atoms("HPt", positions=[[0, 0, 0], [0.4, 1.3, 0.2]], cell=[2.5, 0, 0], pbc=[True, False, False])
    slab = fcc111("Cu", size=(2, 2, 2), vacuum=4.0)
    slab += Atoms("Ag", positions=[slab.positions[-1] + [0.3, 0.2, 2.1]])
    return [(wire, "thin wire"), (slab, "Ag on Cu(111)")]


def main(source, target):
    named = [(atoms, atoms.info["name"]) for atoms in read(source, ":")]
    chosen = [pair for pair in named if pair[1] in CHOSEN] + extra()
    out = []
    for original, name in chosen:
        # The positions are rounded first, so that the numbers belong to what the file says.
        atoms = Atoms(original.numbers, positions=np.round(original.positions, 8), cell=original.cell, pbc=original.pbc)
        calculator = EMT(asap_cutoff=True)
        energy = calculator.get_potential_energy(atoms)
        atoms.arrays["ref_forces"] = calculator.get_forces(atoms)
        atoms.info.update(ref_energy=energy, name=name)
        out.append(atoms)
    write(target, out, format="extxyz")


main(*sys.argv[1:])
