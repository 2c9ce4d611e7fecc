"""EMT that misbehaves on request: what external potentials do on bad days. Used by tests/external_ase.rs."""

import os
import signal
import sys
import time
import types

import numpy as np
from ase.calculators.emt import EMT


def unlucky(atoms, one_in):
    """True for one structure in so many, decided by the positions alone."""
    return int(abs(atoms.positions.sum()) * 1e6) % one_in == 0


def without_device():
    """A torch whose GPU has failed."""

    def synchronize():
        raise RuntimeError("CUDA error: device-side assert triggered")

    return types.SimpleNamespace(cuda=types.SimpleNamespace(is_initialized=lambda: True, synchronize=synchronize))


class Faulty(EMT):
    def __init__(
        self, nan_in=None, hang_in=None, raise_in=None, noisy=False, broken_after=None, slow=0.0, lost_after=None, arrays=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.slow = slow
        self.n_calls = 0
        self.lost_after = lost_after
        self.arrays = arrays
        self.options = (nan_in, hang_in, raise_in, noisy, broken_after)

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        nan_in, hang_in, raise_in, noisy, broken_after = self.options
        if self.slow and not os.path.exists("enough"):
            time.sleep(self.slow)
        if noisy:
            print("a line on standard output", "x" * 5000)
            print("a line on standard error", file=sys.stderr)
            os.write(1, b"bytes from C \xff\n")
        if broken_after is not None and not os.path.exists("mended"):
            with open("calls", "a+") as calls:
                calls.write("x")
                calls.seek(0)
                if len(calls.read()) > broken_after:
                    os.kill(os.getpid(), signal.SIGSEGV)
        self.n_calls += 1
        if self.n_calls == self.lost_after and not os.path.exists("lost"):
            open("lost", "w").close()
            sys.modules["torch"] = without_device()
        if "torch" in sys.modules:
            raise RuntimeError("CUDA error: device-side assert triggered")
        if hang_in and unlucky(atoms, hang_in):
            time.sleep(1000)
        if raise_in and unlucky(atoms, raise_in):
            raise RuntimeError("no convergence in 60 steps")
        super().calculate(atoms, properties, system_changes)
        if nan_in and unlucky(atoms, nan_in):
            self.results["energy"] = np.nan
            self.results["forces"] = np.full((len(atoms), 3), np.nan)
        if self.arrays:
            self.results["energy"] = np.array([self.results["energy"]])
