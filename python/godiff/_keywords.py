"""Keywords of Python to a configuration that the library reads."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ase
import numpy as np

from godiff import _core
from godiff._atoms import fixed_atoms, parts
from godiff._calculator import Evaluate, potential_of

Config = str | os.PathLike[str] | Mapping[str, Any] | None


def settings(
    config: Config,
    calculator: Any,
    keys: Mapping[str, Any],
    preset: str | None = None,
    heard: Callable[[str], object] | None = None,
) -> _core.Settings:
    """The settings of a configuration (file or sections), changed by `keys`, with a calculator if one is given.

    With a `preset` the library chooses what `config` and `keys` leave open; `heard` hears how.
    """
    base: str | None = None
    given: dict[str, Any] = {}
    if isinstance(config, Mapping):
        given.update(config)
    elif config is not None:
        base = os.path.abspath(config)
    given.update((key, value) for key, value in keys.items() if value is not None)
    evaluate = None
    if calculator is not None:
        if "potential" in given:
            raise ValueError("potential and calculator are both given; leave one of them out")
        given["potential"], evaluate = potential_of(calculator)
        if evaluate is not None and given.get("workers") is not None:
            raise ValueError(
                "workers are other processes and cannot get this calculator object; give its import path instead, such as "
                '"ase.calculators.emt:EMT", with its arguments in arguments={…}'
            )
    _follow_constraints(given)
    if preset is None:
        return read(base, given, evaluate)
    if preset != "auto":
        raise ValueError(f'there is no preset "{preset}"; write preset="auto", or leave it out')
    if base is not None:
        raise ValueError("a preset chooses a configuration, and a file is one; leave one of them out")
    with tempfile.TemporaryDirectory(prefix="godiff-") as folder:
        return _core.chosen(_Plain(Path(folder)).table(given), os.getcwd(), evaluate, heard)


def read(base: str | os.PathLike[str] | None, given: Mapping[str, Any], evaluate: Evaluate | None) -> _core.Settings:
    """The settings of the file `base`, if there is one, with `given` in place of its values; Atoms may stand for files."""
    with tempfile.TemporaryDirectory(prefix="godiff-") as folder:
        return _core.Settings(_Plain(Path(folder)).table(given), base, os.getcwd(), evaluate)


def _follow_constraints(given: dict[str, Any]) -> None:
    """Atoms of a template that its constraints leave free may move, as in ASE; a template without constraints is rigid."""
    system = given.get("system")
    section = system if isinstance(system, Mapping) else {}
    template = given.get("template", section.get("template"))
    if isinstance(template, ase.Atoms) and "mobile" not in given and "mobile" not in section:
        fixed = fixed_atoms(template)
        if fixed.any() and not fixed.all():
            given["mobile"] = {"constraints": True}


class _Plain:
    """Turns values into what a configuration holds; structures become files in `folder`."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.n_files = 0

    def table(self, given: Mapping[str, Any]) -> dict[str, Any]:
        return {key: self.value(value) for key, value in given.items()}

    def value(self, value: Any) -> Any:
        if isinstance(value, ase.Atoms):
            return self.file([value])
        if isinstance(value, Mapping):
            return self.table(value)
        if isinstance(value, os.PathLike):
            return os.path.abspath(value)
        if isinstance(value, np.ndarray | np.generic):
            return value.tolist()
        if isinstance(value, list | tuple | range):
            if value and all(isinstance(one, ase.Atoms) for one in value):
                return self.file(list(value))
            return [self.value(one) for one in value]
        return value

    def file(self, structures: list[ase.Atoms]) -> str:
        self.n_files += 1
        path = self.folder / f"structures-{self.n_files}.xyz"
        _core.write_structures(path, [parts(atoms) for atoms in structures])
        return str(path)
