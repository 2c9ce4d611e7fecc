"""Searches and what they are compared with."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ase

from godiff import _core
from godiff._keywords import Config, settings
from godiff._progress import Callback, listener
from godiff._run import Run, Runs


def search(
    config: Config = None,
    *,
    template: ase.Atoms | str | os.PathLike[str] | None = None,
    free: str | None = None,
    calculator: Any = None,
    confinement: Any = None,
    seeds: Any = None,
    seed_structures: Any = None,
    preset: str | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    device: str = "auto",
    jobs: int = 1,
    n_relaxed: int | None = None,
    callback: Callback | None = None,
    progress: bool = True,
    **keys: Any,
) -> Run | Runs:
    """Searches for the structure of lowest energy; gives the run, or the runs if there are several `seeds`.

    config: a configuration file, or a dictionary of its sections; the keywords below change it.
    template: the given atoms with their cell. Atoms that a FixAtoms constraint leaves free may move; without a constraint, or with
        all atoms fixed, the template is rigid.
    free: formula of the free atoms, such as "Pt7".
    calculator: a calculator of ASE, which is called in this process; its class or import path "MODULE:NAME", for worker processes
        (`workers`, `arguments`); or the name of a built-in potential, such as "emt".
    confinement: two heights (Å) that the free atoms may take, above the highest atom of the template if there is one.
    seeds: numbers such as range(4), for a run with each, `jobs` at a time, whose `n_relaxed` lowest structures are relaxed and
        compared. A dictionary is the section [seeds].
    seed_structures: structures of your own that the search begins with.
    preset: "auto" chooses all that is not given, as `godiff init` does: from the template, the free atoms and the energies of a few
        placed structures.
    out: the folder, `runs/…` with the next free number if left out. With `resume`, the run there is continued.
    device: auto, cpu, cpu-f64 or cuda[:INDEX].
    callback: hears every event of `godiff search --json` as a dictionary. Without one a progress bar or lines are shown, unless
        `progress` is false.
    keys: every other key of the configuration (docs/configuration.md), as a section with a dictionary (`training={"batch": 8}`;
        `guidance=True` for a section's defaults), or by its bare name (`iterations=20`) if only one section has it.

    Ctrl-C ends the run at the next safe point; the run so far is returned and can be resumed.
    Raises ValueError for bad input, RuntimeError if the run or the potential fails, OSError if the disk does.
    """
    if isinstance(seeds, Mapping):
        keys["seeds"], seeds = seeds, None
    if seed_structures is not None:
        keys["seeds"] = {"structures": seed_structures}
    keys |= {"template": template, "free": free, "confinement": confinement}
    name, heard = _name(config, free), listener(callback, progress)
    ready = settings(config, calculator, keys, preset, heard)
    if seeds is None:
        folder, _ = _core.search(ready, "search", _path(out), name, resume, device, False, heard)
        return Run(folder, calculator)
    numbers = _seeds(seeds)
    found = _core.search_seeds(ready, numbers, _path(out), f"{name}-seeds", resume, device, jobs, n_relaxed, heard)
    folder, agreements, _ = found
    runs = [Run(folder / f"seed-{seed}", calculator) for seed in numbers]
    agreement = (json.loads(agreements) or [None])[0]
    return Runs(folder, [run for run in runs if (run.folder / "summary.json").is_file()], agreement)


def baseline(
    method: str,
    config: Config = None,
    *,
    calculator: Any = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    stop_at_target: bool = False,
    callback: Callback | None = None,
    progress: bool = True,
    **keys: Any,
) -> Run:
    """A run of a method to compare with, "rss", "basin-hopping" or "evolve", on a task that is given as for `search`."""
    ready = settings(config, calculator, keys)
    name = f"{_name(config, keys.get('free'))}-{method}"
    heard = listener(callback, progress)
    folder, _ = _core.search(ready, method, _path(out), name, resume, "cpu", stop_at_target, heard)
    return Run(folder, calculator, method=method)


def benchmark(
    tasks: Mapping[str, Config],
    methods: Sequence[str] = ("search",),
    *,
    calculator: Any = None,
    runs: int = 8,
    out: str | os.PathLike[str] = "runs/benchmark",
    device: str = "auto",
    side_by_side: int | None = None,
    to_the_end: bool = False,
    callback: Callback | None = None,
    progress: bool = True,
    **keys: Any,
) -> list[dict[str, Any]]:
    """Compares methods with the seeds 0 to `runs` − 1, as `godiff benchmark` does; gives its results.json.

    tasks: configurations with a [target], by name. Every task is done by each of `methods`: search, rss, basin-hopping, evolve.
    A benchmark that is started again in the same folder does what is left of it.
    """
    entrants = [
        (name if method == "search" else f"{name}-{method}", method, settings(config, calculator, keys))
        for name, config in tasks.items()
        for method in methods
    ]
    heard = listener(callback, progress)
    numbers = list(range(runs))
    results, _ = _core.benchmark(entrants, numbers, Path(out), device, side_by_side, to_the_end, heard)
    return json.loads(results)


def keys() -> dict[str, list[str]]:
    """Every section of a configuration with its keys."""
    return dict(_core.keys())


def threads(n: int) -> None:
    """Computes with `n` threads in this process, instead of one for each core; results do not depend on it.

    To be called once, before anything is computed; RuntimeError if it is too late.
    """
    _core.start_threads(n)


def _path(out: str | os.PathLike[str] | None) -> Path | None:
    return None if out is None else Path(out)


def _name(config: Config, free: Any) -> str:
    """The name of a run's folder without a number."""
    if isinstance(config, str | os.PathLike):
        return Path(config).stem
    return free if isinstance(free, str) and free.isalnum() else "run"


def _seeds(seeds: Iterable[int] | int) -> list[int]:
    numbers = list(range(seeds)) if isinstance(seeds, int) else [int(seed) for seed in seeds]
    if not numbers or len(set(numbers)) < len(numbers) or min(numbers) < 0:
        raise ValueError(
            f"seeds is {seeds}; give different whole numbers from 0 on, such as range(4), or one as seed=3"
        )
    return numbers
