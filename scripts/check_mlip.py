"""Machine-learned potentials through godiff's workers and in Python's own process, too heavy for the continuous integration.

    pip install torch mace-torch chgnet ase ./python
    python scripts/check_mlip.py [--godiff target/release/godiff] [--only mace|chgnet]

Makes a small MACE model with random weights (no download), and takes CHGNet with the weights of its package. For each: a short search
with batches through a worker, and one with the calculator object in this process; then every energy and force of their archives against
the calculator called one structure at a time, and the times of a batch and of its structures one by one.
"""

import argparse
import logging
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
SEARCH = """
[system]
template = "{root}/configs/structures/pt-stepped.xyz"
free = "Pt"
confinement = {{ above_template_angstrom = [0.0, 4.0] }}

[potential]
kind = "ase"
python = "{python}"
batch = 8
{potential}

[model]
features = 8
blocks = 2
radial_functions = 8
cutoff_angstrom = 4.0

[diffusion]
steps = 40

[search]
iterations = 2
samples_per_iteration = 20
buffer = 8

[training]
steps_per_iteration = 60
batch = 4
"""


def random_mace(path):
    import torch
    from e3nn import o3
    from mace import modules

    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
    model = modules.ScaleShiftMACE(
        r_max=5.0,
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=2,
        interaction_cls=block,
        interaction_cls_first=block,
        num_interactions=2,
        num_elements=2,
        hidden_irreps=o3.Irreps("16x0e + 16x1o"),
        MLP_irreps=o3.Irreps("16x0e"),
        gate=torch.nn.functional.silu,
        atomic_energies=np.array([-1.0, -2.0]),
        avg_num_neighbors=20.0,
        atomic_numbers=[29, 78],
        correlation=2,
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    )
    torch.save(model, path)
    torch.set_default_dtype(torch.float32)


def check(name, godiff, folder, potential, calculator):
    text = SEARCH.format(root=ROOT, python=sys.executable, potential=potential)
    (folder / f"{name}.toml").write_text(text)
    subprocess.run([godiff, "search", f"{name}.toml", "--out", name, "--quiet"], cwd=folder, check=True)
    log = (folder / name / "workers/worker-0.log").read_text()
    assert "goes one by one" not in log, log
    compare(f"{name} in a worker", folder / name, calculator)
    in_process(name, folder, text, calculator)


def in_process(name, folder, text, calculator):
    """The same search with the calculator as an object, and the times of its calls."""
    import tomllib

    import godiff
    from godiff._calculator import _worker

    keys = tomllib.loads(text)
    del keys["potential"]
    out = folder / f"{name}-object"
    heard = logging.getLogger("godiff")
    heard.addHandler(logging.StreamHandler())
    heard.setLevel(logging.DEBUG)
    run = godiff.search(calculator=calculator, out=out, progress=False, **keys)
    compare(f"{name} in this process", out, calculator)
    ask, structures = _worker().Evaluator(calculator), list(run.minima()[:8])
    ask(structures)
    begin = time.perf_counter()
    ask(structures)
    together = time.perf_counter() - begin
    for one in structures:
        ask([one])
    apart = time.perf_counter() - begin - together
    print(f"{name}: {len(structures)} structures together in {together:.2f} s, one by one in {apart:.2f} s")


def compare(name, run, calculator):
    from ase.db import connect

    energies, forces = [], []
    for row in connect(run / "archive.db").select(status="ok"):
        atoms = row.toatoms()
        atoms.calc = calculator
        energies.append(abs(atoms.get_potential_energy() - row.energy))
        forces.append(np.abs(atoms.get_forces(apply_constraint=False) - row.forces).max())
    assert len(energies) > 20, f"only {len(energies)} structures"
    assert max(energies) < 2e-4 and max(forces) < 2e-4, (max(energies), max(forces))
    print(f"{name}: {len(energies)} structures, energies within {max(energies):.1e} eV, forces within {max(forces):.1e} eV/A")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--godiff", default=str(ROOT / "target/release/godiff"))
    parser.add_argument("--only", choices=["mace", "chgnet"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        if arguments.only != "chgnet":
            from mace.calculators import mace_mp

            model = folder / "random.model"
            random_mace(model)
            keywords = {"model": str(model), "device": "cpu", "default_dtype": "float32", "dispersion": False}
            potential = (
                'calculator = "mace.calculators:mace_mp"\n'
                f'arguments = {{ model = "{model}", device = "cpu", default_dtype = "float32", dispersion = false }}'
            )
            check("mace", arguments.godiff, folder, potential, mace_mp(**keywords))
        if arguments.only != "mace":
            from chgnet.model.dynamics import CHGNetCalculator

            potential = (
                'calculator = "chgnet.model.dynamics:CHGNetCalculator"\narguments = { use_device = "cpu" }'
            )
            check("chgnet", arguments.godiff, folder, potential, CHGNetCalculator(use_device="cpu"))


if __name__ == "__main__":
    main()
