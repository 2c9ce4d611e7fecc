"""The program `godiff`, started by Python."""

import os
import signal
import sys

from godiff import _core


def main() -> int:
    """Runs the program with the arguments of this process; gives its exit code."""
    # The program listens to signals itself. Those that Python has changed are as a program gets them.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if hasattr(signal, "SIGXFSZ"):
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    return _core.program(["godiff", *sys.argv[1:]], os.path.abspath(sys.argv[0]))


if __name__ == "__main__":
    sys.exit(main())
