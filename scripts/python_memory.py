"""Whether memory grows over many short searches in one Python process.

    python scripts/python_memory.py [-n 1000]

Needs the Python package. Prints the resident memory (MiB) after every tenth of the searches: it must level off.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from ase.build import fcc100
from ase.calculators.emt import EMT

import godiff

KEYS = {
    "free": "Cu",
    "confinement": (0.5, 3.0),
    "model": {"features": 8, "blocks": 1, "radial_functions": 8},
    "steps": 10,
    "iterations": 1,
    "samples_per_iteration": 8,
    "buffer": 8,
    "training": {"steps_per_iteration": 2, "batch": 2},
    "progress": False,
}


def resident_mib() -> float:
    """Resident memory of this process (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("-n", type=int, default=1000)
    n = parser.parse_args().n
    slab = fcc100("Cu", (2, 2, 2), a=3.61, vacuum=6.0)
    slab.pbc = (True, True, False)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(n):
            out = Path(folder) / "run"
            try:
                run = godiff.search(template=slab, calculator=EMT(), seed=number, out=out, **KEYS)
                assert run.best is not None and len(run.structures["energy"]) == 8
            except RuntimeError as error:
                # With so few samples, all may be too close to the template.
                print(f"seed {number}: {error}", flush=True)
            shutil.rmtree(out)
            if number == 0 or (number + 1) % max(1, n // 10) == 0:
                print(f"{number + 1:6} searches: {resident_mib():7.1f} MiB", flush=True)


if __name__ == "__main__":
    main()
