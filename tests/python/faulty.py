"""EMT that misbehaves on request: what external potentials do on bad days. Used by tests/external_ase.rs."""

import os
import signal
import sys
import time

import numpy as np
from ase.calculators.emt import EMT


def unlucky(atoms, one_in):
    """True for one structure in so many, decided by the positions alone."""
    return int(abs(atoms.positions.sum()) * 1e6) % one_in == 0


class Faulty(EMT):
    def __init__(self, nan_in=None, hang_in=None, raise_in=None, noisy=False, broken_after=None, slow=0.0, **kwargs):
        super().__init__(**kwargs)
        self.slow = slow
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
        if hang_in and unlucky(atoms, hang_in):
            time.sleep(1000)
        if raise_in and unlucky(atoms, raise_in):
            raise RuntimeError("no convergence in 60 steps")
        super().calculate(atoms, properties, system_changes)
        if nan_in and unlucky(atoms, nan_in):
            self.results["energy"] = np.nan
            self.results["forces"] = np.full((len(atoms), 3), np.nan)
