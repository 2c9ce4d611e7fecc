"""Trained models without a search."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.calculators.calculator import Calculator, all_changes

from godiff import _core
from godiff._atoms import parts, to_atoms, vectors
from godiff._keywords import Config, settings


class Model:
    """A model file of a search, or of `godiff import`."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self._core = _core.Model(self.path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Model:
        """Reads a model file (.safetensors). ValueError if it is none."""
        return cls(path)

    def __repr__(self) -> str:
        return f"<Model {self.path}: {self._core.describe()}>"

    @property
    def has_score(self) -> bool:
        """Whether it can sample: false if it learned forces alone (training.score = false)."""
        return self._core.has_score()

    @property
    def has_forces(self) -> bool:
        """Whether it was trained with [guidance], and so predicts forces."""
        return self._core.has_forces()

    def sample(
        self,
        config: Config = None,
        n: int = 1,
        *,
        seed: int | None = None,
        device: str = "auto",
        **keys: Any,
    ) -> list[ase.Atoms]:
        """`n` structures of a system that is given as for `search`, without any evaluation.

        The [system], [diffusion], [guidance] and [proposals] of the configuration count; its potential is not called.
        """
        # A configuration names a potential, also where nobody asks it.
        if config is None:
            keys.setdefault("potential", {"kind": "emt"})
        ready = settings(config, None, keys)
        return [to_atoms(one) for one in self._core.sample(ready, n, seed, device)]

    def score(self, atoms: ase.Atoms | Iterable[ase.Atoms], time: float, *, device: str = "auto") -> np.ndarray:
        """The score, the gradient of the log-density at diffusion `time` (0 to 1): n × N × 3, 1/Å; 0 on fixed atoms.

        The structures share cell and fixed atoms (FixAtoms). ValueError for a model that learned forces alone.
        """
        if not 0.0 <= time <= 1.0:
            raise ValueError(f"time is {time}; give a diffusion time from 0 to 1")
        listed = [atoms] if isinstance(atoms, ase.Atoms) else list(atoms)
        if not self.has_score:
            raise ValueError(f"{self.path}: the model learned forces alone, so it has no score; train one with score=True")
        scored = self._core.score([parts(one) for one in listed], time, device)
        return np.array([vectors(score or b"") for score, _ in scored])

    def forces(self, atoms: ase.Atoms | Iterable[ase.Atoms], *, device: str = "auto") -> np.ndarray:
        """The learned forces on all atoms: n × N × 3, eV/Å. ValueError for a model without them."""
        listed = [atoms] if isinstance(atoms, ase.Atoms) else list(atoms)
        if not self.has_forces:
            raise ValueError(f"{self.path}: the model has no learned forces; train one with guidance=True")
        scored = self._core.score([parts(one) for one in listed], 0.0, device)
        return np.array([vectors(forces or b"") for _, forces in scored])

    def calculator(self, *, device: str = "auto") -> LearnedForces:
        """A calculator of ASE with the learned forces. Its energy is NaN: use an optimiser that goes by forces, such as BFGS."""
        return LearnedForces(self, device)


class LearnedForces(Calculator):
    """Forces of a model as a calculator of ASE. A model has no energy, and ASE's optimisers ask for one: it is NaN."""

    implemented_properties = ["energy", "forces"]

    def __init__(self, model: Model, device: str = "auto"):
        super().__init__()
        self.model = model
        self.device = device

    def calculate(
        self,
        atoms: ase.Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        self.results["energy"] = float("nan")
        self.results["forces"] = self.model.forces(self.atoms, device=self.device)[0]
