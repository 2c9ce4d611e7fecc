"""What a user sees of a run while it works."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

Event = dict[str, Any]
Callback = Callable[[Event], object]


def listener(callback: Callback | None, progress: bool) -> Callable[[str], object] | None:
    """The function that hears the library's lines of JSON: the caller's, or one that shows the progress, or none."""
    if callback is not None:
        return lambda line: callback(json.loads(line))
    if not progress:
        return None
    shown = _bar() or _Lines()
    return lambda line: shown(json.loads(line))


def _bar() -> _Bar | None:
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    # A log gets lines instead of redrawn bars.
    return _Bar(tqdm) if sys.stderr.isatty() or "ipykernel" in sys.modules else None


def _energy(best: float | None) -> str:
    return "" if best is None else f"lowest {best:.4f} eV"


class _Bar:
    def __init__(self, tqdm: Any):
        self.tqdm = tqdm
        self.bar: Any = None

    def __call__(self, event: Event) -> None:
        kind = event["event"]
        if kind == "run_started":
            self.close()
            first, total = event["first_iteration"], event["iterations"]
            self.bar = self.tqdm(total=total, initial=first, unit="iteration", desc=event["directory"])
        elif kind == "message":
            self.tqdm.write(event["text"], file=sys.stderr)
        elif self.bar is None:
            return
        elif kind == "phase":
            self.bar.set_description(f"{event['phase']}, kT {event['kt_ev']:.4f} eV")
        elif kind == "iteration_done":
            self.bar.set_postfix_str(_energy(event["best_energy_ev"]))
            self.bar.update()
        elif kind == "finished":
            self.bar.set_description(event["status"])
            self.close()

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


class _Lines:
    """A line for every iteration and message."""

    total = 0

    def __call__(self, event: Event) -> None:
        kind = event["event"]
        if kind == "run_started":
            self.total = event["iterations"]
            self.say(f"{event['directory']}: {event['potential']}, seed {event['seed']}")
        elif kind == "message":
            self.say(event["text"])
        elif kind == "iteration_done":
            self.say(f"iteration {event['iteration'] + 1} of {self.total}: {_energy(event['best_energy_ev'])}")
        elif kind == "finished":
            self.say(f"{event['status']}: {event['evaluations']} evaluations, {_energy(event['best_energy_ev'])}")

    @staticmethod
    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)
