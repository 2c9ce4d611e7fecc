"""Structures and models without a search; the program; the list of keys."""

import json
import os
import signal
import subprocess
import sys

import ase.optimize
import numpy as np
import pytest
from ase.build import add_adsorbate
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from test_search import program

import godiff


@pytest.fixture
def adatom(slab):
    add_adsorbate(slab, "Cu", 1.9, (0.2, 0.1))
    slab.set_constraint(FixAtoms(range(8)))
    return slab


def test_energies_are_those_of_ase(adatom):
    for calculator in (EMT(), "emt", {"kind": "emt"}):
        answer = godiff.evaluate([adatom, adatom], calculator)
        assert len(answer) == 2
        adatom.calc = EMT()
        assert abs(answer[1].get_potential_energy() - adatom.get_potential_energy()) < 1e-6
        assert np.allclose(answer[0].get_forces(), adatom.get_forces(), atol=1e-6)
    with pytest.raises(ValueError, match="there is no potential"):
        godiff.evaluate(adatom, "nothing")


def test_relaxation_moves_free_atoms_alone(adatom):
    relaxed = godiff.relax(adatom, EMT(), fmax=0.02)[0]
    assert relaxed.info["ended"] == "converged" and relaxed.info["evaluations"] > 1
    assert np.array_equal(relaxed.positions[:8], adatom.positions[:8])
    assert abs(relaxed.get_forces()).max() < 0.02
    assert not godiff.same_structure(adatom, relaxed)
    moved = relaxed.copy()
    moved.positions[8] += moved.cell[0] / 2
    assert godiff.same_structure(moved, relaxed), "a lattice vector of the layer is a symmetry"


def test_a_model_samples_scores_and_gives_forces(task, tmp_path):
    run = godiff.search(calculator="emt", out=tmp_path / "run", **task | {"guidance": True})
    model = godiff.Model.load(run.folder / "model.safetensors")
    samples = model.sample(run.folder / "config.toml", 3, seed=1)
    assert len(samples) == 3 and samples[0].get_chemical_formula() == "Cu9"
    again = model.sample(run.folder / "config.toml", 3, seed=1)
    assert all((a.positions == b.positions).all() for a, b in zip(samples, again, strict=True))
    scores = model.score(samples, 0.2)
    assert scores.shape == (3, 9, 3) and (scores[:, :8] == 0).all() and np.isfinite(scores).all()
    samples[0].calc = model.calculator()
    forces = samples[0].get_forces()
    assert np.array_equal(forces[8], model.forces(samples[0])[0, 8]) and abs(forces[8]).max() > 0
    assert (forces[:8] == 0).all(), "the constraint holds the template's atoms"
    before = samples[0].positions.copy()
    ase.optimize.BFGS(samples[0], logfile=None).run(fmax=0.0, steps=2)
    moved = abs(samples[0].positions - before).max(axis=1)
    assert (moved[:8] == 0).all() and moved[8] > 0
    with pytest.raises(ValueError, match="give a diffusion time from 0 to 1"):
        model.score(samples, 2.0)
    with pytest.raises(ValueError):
        godiff.Model.load(run.folder / "config.toml")


def test_a_model_of_forces_alone_has_no_score(task, tmp_path):
    keys = task | {"training": task["training"] | {"score": False}, "first_samples": "placed", "guidance": True}
    keys["proposals"] = {"relax_steps": 2, "hop_share": 1.0}
    run = godiff.search(calculator="emt", out=tmp_path / "run", **keys)
    model = run.model
    assert model.has_forces and not model.has_score
    for call in (lambda: model.score(run.best, 0.2), lambda: model.sample(run.folder / "config.toml")):
        with pytest.raises(ValueError, match="the model learned forces alone"):
            call()
    assert np.isfinite(model.forces(run.best)).all()


def test_the_program_is_on_the_path(task, tmp_path):
    assert godiff.__version__ in program("--version").stdout
    wrong = program("search", "none.toml", check=False)
    assert wrong.returncode == 2 and wrong.stderr.startswith("godiff: cannot read the configuration none.toml")
    assert program("nonsense", check=False).returncode == 2
    run = godiff.search(calculator="emt", out=tmp_path / "run", **task)
    answer = program("search", run.folder / "config.toml", "--out", tmp_path / "other", "--json")
    assert json.loads(answer.stdout.splitlines()[-1])["event"] == "finished"


def test_the_program_ends_cleanly_by_a_signal(repository, tmp_path):
    """As the program of the crate: 130, a run that can be resumed, and no word of Python."""
    config = repository / "configs" / "pt-heptamer.toml"
    path = os.path.join(os.path.dirname(sys.executable), "godiff")
    with subprocess.Popen(
        [path, "search", config, "--out", tmp_path / "run", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert "run_started" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and errors == "godiff: interrupted\n"
    assert godiff.open(tmp_path / "run").status == "interrupted"


def test_keys_are_those_of_the_library():
    keys = godiff.keys()
    assert "iterations" in keys["search"] and "template" in keys["system"]


def test_the_package_starts_without_ase():
    """The program must not wait for modules that it does not need."""
    code = "import sys, godiff, godiff._program; sys.exit('ase' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_campaigns_call_the_program_of_the_package(repository, tmp_path):
    """Not the interpreter that runs it."""
    smoke = repository / "configs" / "smoke.toml"
    program("campaign", smoke, "--out", tmp_path / "campaign", "--for", "slurm", "--runs", 2)
    script = (tmp_path / "campaign" / "slurm.sh").read_text()
    assert os.path.join(os.path.dirname(sys.executable), "godiff") in script and sys.executable not in script
