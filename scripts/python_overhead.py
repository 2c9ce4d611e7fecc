"""What the way from the library to a calculator object costs, as time of the processor: other work on the machine does not count.

    python scripts/python_overhead.py [-n 2000] [--repeats 5]

Needs the Python package. The calculator gives constants, so all time is that of the way: in a plain loop of ASE's own, and through
godiff. 79 atoms, as in docs/results/external.md.
"""

import argparse
import time

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from external_overhead import rattled_heptamers

import godiff


class Constant(Calculator):
    """The same numbers for every structure."""

    implemented_properties = ["energy", "forces"]

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3))}


def loop(structures):
    """As a user would in Python."""
    calculator = Constant()
    for atoms in structures:
        atoms.calc = calculator
        atoms.get_forces(), atoms.get_potential_energy()


def through_godiff(structures):
    """Without the conversion of the answers into Atoms, which a search does not do."""
    from godiff import _core
    from godiff._atoms import parts
    from godiff._calculator import potential_of

    given = [parts(atoms) for atoms in structures]
    start = time.process_time()
    keys, function = potential_of(Constant())
    _core.evaluate(given, keys, function)
    return time.process_time() - start


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-n", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    godiff.threads(1)
    structures = rattled_heptamers(arguments.n)
    plain, through = [], []
    for _ in range(arguments.repeats):
        start = time.process_time()
        loop([atoms.copy() for atoms in structures])
        plain.append(time.process_time() - start)
        through.append(through_godiff(structures))
    plain, through = (1e3 * np.median(times) / arguments.n for times in (plain, through))
    print(f"{len(structures[0])} atoms, {arguments.n} structures, medians of {arguments.repeats} rounds; ms of processor time each")
    print(f"loop in Python {plain:.4f}, through godiff {through:.4f}, more {through - plain:.4f}")


if __name__ == "__main__":
    main()
