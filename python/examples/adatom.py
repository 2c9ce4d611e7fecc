"""One Pt atom on a stepped Pt surface: the search of the README, in Python. A minute at most; writes adatom.png.

python python/examples/adatom.py
"""

from pathlib import Path

import ase.io
from ase.calculators.emt import EMT
from ase.io import write

import godiff

CONFIGS = Path(__file__).parents[2] / "configs"

# The configuration of the README with another source of energies: ASE's EMT in this process.
run = godiff.search(CONFIGS / "pt-adatom.toml", calculator=EMT(), seed=1, out="runs/python-adatom")
print(run)

minimum = run.minima(relax=True, lowest=1)[0]
known = ase.io.read(CONFIGS / "structures" / "pt-adatom-minimum.xyz")
known.calc = EMT()
print(f"lowest minimum {minimum.get_potential_energy():.6f} eV, known {known.get_potential_energy():.6f} eV")

write("adatom.png", minimum, rotation="-70x,20y", scale=30)
