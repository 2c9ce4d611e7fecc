"""What the way through godiff costs beyond the calculator itself: EMT of ASE in godiff's workers and as i-PI client, in one run.

    python scripts/external_overhead.py [--godiff target/release/godiff] [-n 500]

Needs ase; the way through an object needs the Python package, and is left out without it. The calculator notes when its first call began, when its last ended, and the time between that it did not compute: what
ASE, the socket, and godiff took. Starts do not count, and other work on the machine hardly tips the balance. "In Python" is the same
for a plain loop.
"""

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from ase.io import read, write

ROOT = Path(__file__).resolve().parent.parent
SOCKET = "godiff-overhead"
TIMED = """
import atexit, time
from ase.calculators.emt import EMT

class Timed(EMT):
    first = last = inside = 0.0
    n = 0

    def calculate(self, *args, **kwargs):
        start = time.perf_counter()
        super().calculate(*args, **kwargs)
        Timed.last = time.perf_counter()
        Timed.first = Timed.first or start
        Timed.inside += Timed.last - start
        Timed.n += 1

def note():
    with open("times", "w") as file:
        print(Timed.last - Timed.first, Timed.inside, Timed.n, file=file)

atexit.register(note)
"""
LOOP = """
from ase.io import read
from timed import Timed
calculator = Timed()
for atoms in read("in.xyz", ":"):
    atoms.calc = calculator
    atoms.get_potential_energy(), atoms.get_forces()
"""
OBJECT = """
import godiff
from ase.io import read
from timed import Timed
godiff.evaluate(read("in.xyz", ":"), Timed())
"""
CLIENT = f"""
from ase.calculators.socketio import SocketClient
from ase.io import read
from timed import Timed
atoms = read("in.xyz", 0)
atoms.calc = Timed()
SocketClient(unixsocket="{SOCKET}").run(atoms, use_stress=False)
"""
ASE = f'kind = "ase"\ncalculator = "timed:Timed"\npython = "{sys.executable}"'
WAYS = {
    "in Python": "loop.py",
    "object in Python": "object.py",
    "worker, batches of 16": f"{ASE}\nbatch = 16",
    "worker, single": ASE,
    "i-PI, single, ASE's client": f'kind = "i-pi"\nunix_socket = "{SOCKET}"',
}


def run(godiff, folder, potential):
    """Seconds a structure: in the calculator, and beyond it."""
    if potential.endswith(".py"):
        subprocess.run([sys.executable, potential], cwd=folder, check=True)
    else:
        (folder / "potential.toml").write_text(f'[system]\nfree = "Pt"\n[potential]\n{potential}\n')
        command = [godiff, "evaluate", "in.xyz", "--potential", "potential.toml", "-o", "out.xyz"]
        process = subprocess.Popen(command, cwd=folder)
        clients = []
        if "i-pi" in potential:
            path = Path(f"/tmp/ipi_{SOCKET}")
            while not path.exists():
                time.sleep(0.001)
            clients.append(subprocess.Popen([sys.executable, "client.py"], cwd=folder))
        assert process.wait() == 0
        for client in clients:
            client.wait()
    span, inside, n = map(float, (folder / "times").read_text().split())
    return inside / n, (span - inside) / (n - 1)


def rattled_heptamers(n):
    """Seven Pt atoms on Pt(111), displaced."""
    template = read(ROOT / "configs/structures/pt7-hexagon-hcp.xyz")
    template.calc = None
    template.set_constraint()
    random = np.random.default_rng(0)
    structures = []
    for _ in range(n):
        atoms = template.copy()
        atoms.positions[-7:] += random.normal(0, 0.2, (7, 3))
        structures.append(atoms)
    return structures


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--godiff", default=str(ROOT / "target/release/godiff"))
    parser.add_argument("-n", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    structures = rattled_heptamers(arguments.n)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write(folder / "in.xyz", structures)
        for name, text in [("timed.py", TIMED), ("loop.py", LOOP), ("object.py", OBJECT), ("client.py", CLIENT)]:
            (folder / name).write_text(text)
        ways = dict(WAYS)
        if importlib.util.find_spec("godiff") is None:
            del ways["object in Python"]
        times = {way: [] for way in ways}
        for _ in range(arguments.repeats):
            for way, potential in ways.items():
                times[way].append(run(arguments.godiff, folder, potential))
    print(f"{len(structures[0])} atoms, {arguments.n} structures, medians of {arguments.repeats} rounds; ms a structure")
    print(f"{'':28} {'in the calculator':>18} {'beyond it':>10}")
    for way, pairs in times.items():
        inside, beyond = 1e3 * np.median(pairs, axis=0)
        print(f"{way:28} {inside:18.3f} {beyond:10.3f}")


if __name__ == "__main__":
    main()
