"""Times one evaluation of ASE's EMT (energy and forces) on the structures that benches/emt.rs uses.

    python benches/peer/emt_ase.py
"""

import time
from pathlib import Path

from ase.calculators.emt import EMT
from ase.io import read

structures = read(Path(__file__).parents[2] / "tests" / "fixtures" / "potentials.xyz.gz", ":6")
calculator = EMT()
times = []
for repeat in range(30):
    atoms = structures[repeat % len(structures)]
    start = time.perf_counter()
    calculator.get_property("forces", atoms)
    times.append(time.perf_counter() - start)
print(f"ASE, random Pt7: {1e3 * sorted(times)[len(times) // 2]:.2f} ms an evaluation (median of {len(times)})")
