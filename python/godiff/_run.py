"""Runs and what they have found."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase
import numpy as np

from godiff import _core
from godiff._atoms import to_atoms, vectors
from godiff._calculator import potential_of
from godiff._keywords import read
from godiff._progress import Callback, listener

if TYPE_CHECKING:
    import pandas

    from godiff._model import Model


class Table(Mapping[str, np.ndarray]):
    """Columns of equal length, by name."""

    def __init__(self, columns: dict[str, np.ndarray], example: ase.Atoms | None = None):
        self._columns = columns
        self._example = example

    def __getitem__(self, name: str) -> np.ndarray:
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        """The number of columns."""
        return len(self._columns)

    def __repr__(self) -> str:
        rows = len(next(iter(self._columns.values()))) if self._columns else 0
        return f"<{rows} rows of {', '.join(self._columns)}>"

    def _repr_html_(self) -> str | None:
        """The table in a notebook, if pandas is there."""
        try:
            return self.pandas().to_html(max_rows=20)
        except ImportError:
            return None

    def pandas(self) -> pandas.DataFrame:
        """The columns with one number or word a row as a DataFrame; needs pandas."""
        import pandas

        return pandas.DataFrame({name: column for name, column in self._columns.items() if column.ndim == 1})

    def atoms(self, row: int) -> ase.Atoms:
        """The structure of a row, with its energy and forces, if the table is one of structures."""
        if self._example is None:
            raise ValueError("this table holds no structures")
        from ase.calculators.singlepoint import SinglePointCalculator

        atoms = self._example.copy()
        atoms.positions = self["positions"][row]
        energy, forces = float(self["energy"][row]), self["forces"][row]
        if np.isfinite(energy):
            atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces.copy())
        return atoms


class Report:
    """The page about a run or several. A notebook shows it; `path` is the file."""

    def __init__(self, path: Path):
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"Report({str(self.path)!r})"

    def _repr_html_(self) -> str:
        page = html.escape(self.path.read_text(encoding="utf-8"), quote=True)
        return f'<iframe srcdoc="{page}" style="width: 100%; height: 800px; border: 0"></iframe>'


class Run:
    """A run in its folder. What it shows is read from there, so it is always as the run is now."""

    def __init__(self, folder: str | os.PathLike[str], calculator: Any = None, *, method: str = "search"):
        self.folder = Path(folder)
        self.method = method
        self._calculator = calculator

    def __repr__(self) -> str:
        summary = self.summary
        best = summary["best_energy_ev"]
        energy = "" if best is None else f", lowest energy {best:.6f} eV"
        return f"<Run {self.folder}: {summary['status']}, {summary['evaluations']} evaluations{energy}>"

    @property
    def summary(self) -> dict[str, Any]:
        """The contents of summary.json: status, seed, evaluations, lowest energy (eV), …"""
        return json.loads((self.folder / "summary.json").read_text(encoding="utf-8"))

    @property
    def status(self) -> str:
        """done, target_found, time_limit, interrupted, failed or running."""
        return self.summary["status"]

    @property
    def seed(self) -> int:
        """The seed of all random numbers."""
        return self.summary["seed"]

    @property
    def evaluations(self) -> int:
        """Calls of the potential."""
        return self.summary["evaluations"]

    @property
    def energy(self) -> float | None:
        """The lowest energy, eV."""
        return self.summary["best_energy_ev"]

    @property
    def config(self) -> str:
        """The configuration with all defaults, as TOML."""
        return (self.folder / "config.toml").read_text(encoding="utf-8")

    @property
    def best(self) -> ase.Atoms | None:
        """The sample of lowest energy, with energy (eV) and forces (N × 3, eV/Å); None if no structure counts yet.

        Atoms of the template come first, those that do not move before those that do. Fixed atoms have a FixAtoms constraint.
        """
        path = self.folder / "best.xyz"
        return to_atoms(_core.read_structures(path)[0]) if path.is_file() else None

    def minima(
        self,
        relax: bool = False,
        *,
        lowest: int = 100,
        fmax: float | None = None,
        energy_tolerance: float | None = None,
        distance_tolerance: float | None = None,
        calculator: Any = None,
    ) -> list[ase.Atoms]:
        """The distinct structures, lowest first, with energies and forces; `info` holds count, symmetry and where each was found.

        With `relax`, the `lowest` ones are relaxed on the run's potential until no force on a free atom exceeds `fmax` (eV/Å, 0.01
        if left out), and those that become equal are merged. Tolerances (eV and Å) say when two structures are equal.
        """
        settings = self._settings({}, calculator) if relax else None
        found = _core.minima([self.folder], lowest, settings, fmax, energy_tolerance, distance_tolerance)
        return [to_atoms(one) for one in found]

    @property
    def history(self) -> Table:
        """One row an iteration: the numbers of metrics.jsonl, nested ones as `counts_ok`, …; NaN for missing ones."""
        text = (self.folder / "metrics.jsonl").read_text(encoding="utf-8")
        rows = [_flat(json.loads(line)) for line in text.splitlines() if line]
        names = list(dict.fromkeys(name for row in rows for name in row))
        missing = float("nan")
        return Table({name: np.array([_number(row.get(name), missing) for row in rows]) for name in names})

    @property
    def structures(self) -> Table:
        """Every sample: iteration, index, kt_ev, status, origin, energy (eV, NaN without one), positions (n × N × 3, Å) and forces
        (n × N × 3, eV/Å). `structures.atoms(k)` is row k as Atoms."""
        columns = _core.structures(self.folder, False)
        n, first = len(columns["index"]), columns.pop("first")
        example = None if first is None else to_atoms(first)
        n_atoms = 0 if example is None else len(example)
        for name in ("positions", "forces"):
            columns[name] = vectors(columns[name]).reshape(n, n_atoms, 3)
        return Table({name: np.asarray(column) for name, column in columns.items()}, example)

    @property
    def report(self) -> Report:
        """The page about the run."""
        return Report(self.folder / "report.html")

    @property
    def model(self) -> Model:
        """The trained model."""
        from godiff._model import Model

        return Model.load(self.folder / "model.safetensors")

    def extend(
        self,
        *,
        calculator: Any = None,
        device: str = "auto",
        callback: Callback | None = None,
        progress: bool = True,
        **keys: Any,
    ) -> Run:
        """Resumes the run, with other keys if they may change: iterations, samples_per_iteration, kt_final_ev, hours, a target, …

        A run whose potential is an object of Python needs its `calculator` again if this is another process.
        """
        settings = self._settings(keys, calculator)
        heard = listener(callback, progress)
        _core.search(settings, self.method, self.folder, "run", True, device, False, heard)
        return self

    def resume(self, **options: Any) -> Run:
        """`extend` without other keys: continues a run that was interrupted or killed, to the same bits as one that was not."""
        return self.extend(**options)

    def _settings(self, keys: Mapping[str, Any], calculator: Any) -> _core.Settings:
        if calculator is not None:
            self._calculator = calculator
        evaluate = None if self._calculator is None else potential_of(self._calculator)[1]
        changed = {key: value for key, value in keys.items() if value is not None}
        return read(self.folder / "config.toml", changed, evaluate)


class Runs(Sequence[Run]):
    """The runs of several seeds in one folder, and what they agree on."""

    def __init__(self, folder: str | os.PathLike[str], runs: Sequence[Run], agreement: dict[str, Any] | None = None):
        self.folder = Path(folder)
        self._runs = list(runs)
        self.agreement = agreement or {}

    def __getitem__(self, number: Any) -> Any:
        return self._runs[number]

    def __len__(self) -> int:
        return len(self._runs)

    def __repr__(self) -> str:
        return f"<Runs {self.folder}: {len(self)} seeds>"

    @property
    def best(self) -> ase.Atoms | None:
        """The lowest sample of all runs."""
        found = [(run.energy, number) for number, run in enumerate(self._runs) if run.energy is not None]
        return self._runs[min(found)[1]].best if found else None

    @property
    def minima(self) -> list[ase.Atoms]:
        """The distinct relaxed minima of all seeds, lowest first; `info` says which seeds found each."""
        path = self.folder / "minima.xyz"
        return [to_atoms(one) for one in _core.read_structures(path)] if path.is_file() else []

    @property
    def report(self) -> Report:
        """The page about all runs."""
        return Report(self.folder / "report.html")


def open(folder: str | os.PathLike[str], calculator: Any = None) -> Run | Runs:
    """The run in `folder`, or the runs of several seeds, whoever started them: this package or the program.

    `calculator` is needed to resume a run, or to relax its structures, if its potential is an object of Python.
    """
    path = Path(folder)
    if (path / "config.toml").is_file():
        return Run(path, calculator, method=_method(path))
    seeds = sorted(path.glob("seed-*/config.toml"), key=lambda config: int(config.parent.name.removeprefix("seed-")))
    if not seeds:
        raise ValueError(f"{path}: holds no run; name the folder of a run")
    comparison = path / "seeds.json"
    agreement = json.loads(comparison.read_text(encoding="utf-8")) if comparison.is_file() else None
    return Runs(path, [Run(config.parent, calculator, method=_method(config.parent)) for config in seeds], agreement)


def _method(folder: Path) -> str:
    """The method of a run, by the section that only a baseline's configuration has."""
    lines = (folder / "config.toml").read_text(encoding="utf-8").splitlines()
    baselines = {"[random_search]": "rss", "[basin_hopping]": "basin-hopping", "[evolution]": "evolve"}
    return next((baselines[line] for line in lines if line in baselines), "search")


def _flat(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        flat |= _flat(value, f"{prefix}{name}_") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def _number(value: Any, missing: float) -> Any:
    return missing if value is None else value
