"""Three Au atoms on MgO(001) with an external calculator. Some minutes; writes oxide.png.

The calculator is an object of Python like any other: Lennard-Jones pairs, for the example's sake, in place of MACE or a DFT code.
Its lengths and depths are rough (Au–Au from the metal's distance and a third of its cohesion, Au–O and Au–Mg weaker): they show
how a search is set up, and say nothing about gold on magnesia.

    python python/examples/oxide.py
"""

import itertools

import numpy as np
from ase import Atoms
from ase.build import bulk, surface
from ase.calculators.calculator import Calculator, all_changes
from ase.constraints import FixAtoms
from ase.io import write
from ase.neighborlist import neighbor_list

import godiff

# Depth (eV) and distance (Å) of the minimum of each pair; atoms of the oxide keep their places by springs.
PAIRS = {("Au", "Au"): (0.9, 2.7), ("Au", "O"): (0.5, 2.2), ("Au", "Mg"): (0.15, 2.7)}
CUTOFF = 7.0
SPRING = 4.0  # eV/Å²


class GoldOnMagnesia(Calculator):
    """Pairs of Lennard-Jones with gold, springs in the oxide."""

    implemented_properties = ["energy", "forces"]

    def __init__(self, ideal: np.ndarray):
        super().__init__()
        self.ideal = ideal

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        symbols = np.array(atoms.get_chemical_symbols())
        i, j, distances, vectors = neighbor_list("ijdD", atoms, CUTOFF)
        depth, length = np.zeros(len(i)), np.ones(len(i))
        for (a, b), (eps, r0) in PAIRS.items():
            for first, second in {(a, b), (b, a)}:
                of_kind = (symbols[i] == first) & (symbols[j] == second)
                depth[of_kind], length[of_kind] = eps, r0
        sixth = (length / distances) ** 6
        # Every pair is in the list twice.
        energy = 0.5 * np.sum(depth * (sixth**2 - 2 * sixth))
        slope = 12 * depth * (sixth - sixth**2) / distances
        forces = np.zeros((len(atoms), 3))
        np.add.at(forces, i, slope[:, None] * vectors / distances[:, None])
        oxide = np.flatnonzero(symbols != "Au")
        moved = atoms.positions[oxide] - self.ideal[: len(oxide)]
        energy += 0.5 * SPRING * np.sum(moved**2)
        forces[oxide] -= SPRING * moved
        self.results = {"energy": energy, "forces": forces}


def template() -> Atoms:
    """Two layers of MgO(001), 2 × 2 cubic cells; the lower layer is fixed."""
    slab = surface(bulk("MgO", "rocksalt", a=4.21, cubic=True), (0, 0, 1), 1, vacuum=8.0).repeat((2, 2, 1))
    slab.pbc = (True, True, False)
    lower = slab.positions[:, 2] < slab.positions[:, 2].mean()
    # The atoms that stay come first, as in the structures of a run.
    slab = slab[np.argsort(~lower, kind="stable")]
    slab.set_constraint(FixAtoms(range(int(lower.sum()))))
    return slab


slab = template()
run = godiff.search(
    template=slab,
    free="Au3",
    calculator=GoldOnMagnesia(slab.positions.copy()),
    confinement=(1.0, 5.0),
    seed=0,
    out="runs/python-oxide",
    model={"features": 32, "blocks": 3},
    iterations=10,
    samples_per_iteration=12,
    buffer=12,
    kt_initial_ev=0.5,
    kt_final_ev=0.02,
    training={"steps_per_iteration": 200, "batch": 6, "learning_rate": 4e-4, "final_learning_rate": 4e-4},
    guidance=True,
    proposals={"relax_steps": 50, "hop_share": 0.5},
)
print(run)

minimum = run.minima(relax=True, lowest=5)[0]
gold = minimum[[atom.index for atom in minimum if atom.symbol == "Au"]]
print(f"lowest minimum {minimum.get_potential_energy():.4f} eV")
for a, b in itertools.combinations(range(3), 2):
    print(f"Au–Au {minimum.get_distance(len(minimum) - 3 + a, len(minimum) - 3 + b, mic=True):.3f} Å")

write("oxide.png", minimum, rotation="-70x,20y", scale=30)
