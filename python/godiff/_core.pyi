"""The library as a Python module. It only translates: configurations, structures, exceptions, Ctrl-C."""

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any, final

_Path = str | PathLike[str]
_Parts = dict[str, Any]
_Evaluate = Callable[[list[_Parts]], list[tuple[float, bytes, str | None]]]
_Listener = Callable[[str], object]

__version__: str
WORKER: str

@final
class Settings:
    def __new__(
        cls,
        keywords: dict[str, Any],
        base: _Path | None = None,
        folder: _Path = ...,
        calculator: _Evaluate | None = None,
    ) -> Settings: ...
    def to_toml(self) -> str: ...

@final
class Model:
    def __new__(cls, path: _Path) -> Model: ...
    def describe(self) -> str: ...
    def species(self) -> list[int]: ...
    def has_score(self) -> bool: ...
    def has_forces(self) -> bool: ...
    def sample(self, settings: Settings, n: int, seed: int | None, device: str) -> list[_Parts]: ...
    def score(self, list: list[_Parts], time: float, device: str) -> list[tuple[bytes | None, bytes | None]]: ...

def program(arguments: Sequence[str], starter: _Path | None = None) -> int: ...
def start_threads(n: int) -> None: ...
def keys() -> list[tuple[str, list[str]]]: ...
def chosen(
    keywords: dict[str, Any],
    folder: _Path,
    calculator: _Evaluate | None,
    on_event: _Listener | None,
) -> Settings: ...
def search(
    settings: Settings,
    method: str,
    out: _Path | None,
    name: str,
    resume: bool,
    device: str,
    stop_at_target: bool,
    on_event: _Listener | None,
) -> tuple[Any, bool]: ...
def search_seeds(
    settings: Settings,
    seeds: Sequence[int],
    out: _Path | None,
    name: str,
    resume: bool,
    device: str,
    jobs: int,
    n_relaxed: int | None,
    on_event: _Listener | None,
) -> tuple[Any, str, bool]: ...
def benchmark(
    entrants: Sequence[tuple[str, str, Settings]],
    seeds: Sequence[int],
    out: _Path,
    device: str,
    side_by_side: int | None,
    to_the_end: bool,
    on_event: _Listener | None,
) -> tuple[str, bool]: ...
def minima(
    folders: Sequence[_Path],
    lowest: int,
    settings: Settings | None,
    fmax: float | None,
    energy_tolerance: float | None,
    distance_tolerance: float | None,
) -> list[_Parts]: ...
def structures(folder: _Path, ok_only: bool) -> dict[str, Any]: ...
def write_structures(path: _Path, structures: list[_Parts]) -> None: ...
def read_structures(path: _Path) -> list[_Parts]: ...
def evaluate(
    list: list[_Parts], potential: dict[str, Any], calculator: _Evaluate | None
) -> list[tuple[_Parts, str | None]]: ...
def relax(
    list: list[_Parts],
    potential: dict[str, Any],
    calculator: _Evaluate | None,
    fmax: float | None,
    max_steps: int | None,
) -> list[tuple[_Parts, str, int, int]]: ...
def same_structure(a: _Parts, b: _Parts, distance: float) -> bool: ...
