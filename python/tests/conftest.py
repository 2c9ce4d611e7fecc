"""What several tests share. A run of the first tests takes a second."""

from pathlib import Path

import pytest
from ase.build import fcc100

# A search that is as short as it may be.
SHORT = {
    "free": "Cu",
    "confinement": (0.5, 3.0),
    "model": {"features": 8, "blocks": 1, "radial_functions": 8},
    "steps": 10,
    "iterations": 3,
    "samples_per_iteration": 6,
    "buffer": 6,
    "kt_initial_ev": 1.0,
    "kt_final_ev": 0.1,
    "training": {"steps_per_iteration": 5, "batch": 4, "learning_rate": 1e-3},
}


@pytest.fixture
def slab():
    """Eight Cu atoms in two layers."""
    atoms = fcc100("Cu", (2, 2, 2), a=3.61, vacuum=6.0)
    atoms.pbc = (True, True, False)
    return atoms


@pytest.fixture
def task(slab):
    """The keywords of a short search but for its calculator."""
    return SHORT | {"template": slab, "progress": False}


@pytest.fixture(scope="session")
def repository():
    """The folder of the repository."""
    return Path(__file__).parents[2]
