"""Searches from Python: what comes out, and that the program's runs are the same."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time

import ase.io
import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

import godiff


def program(*arguments, check=True, **options):
    """Runs the program that came with the package."""
    path = shutil.which("godiff", path=os.path.dirname(sys.executable))
    assert path is not None, "the package has no program on the path"
    return subprocess.run([path, *map(str, arguments)], capture_output=True, text=True, check=check, **options)


def same_run(a, b):
    """The bits that a run is about."""
    for name in ("config.toml", "best.xyz", "model.safetensors"):
        assert (a / name).read_bytes() == (b / name).read_bytes(), name
    one, other = godiff.open(a).structures, godiff.open(b).structures
    for name in one:
        assert np.array_equal(one[name], other[name], equal_nan=one[name].dtype.kind == "f"), name


def test_a_run_has_structures_with_energies(task, slab, tmp_path):
    run = godiff.search(calculator=EMT(), seed=3, out=tmp_path / "run", **task)
    assert (run.status, run.seed) == ("done", 3)
    best = run.best
    assert best.get_chemical_formula() == "Cu9"
    assert best.get_potential_energy() == run.energy
    fresh = best.copy()
    fresh.calc = EMT()
    assert abs(fresh.get_potential_energy() - run.energy) < 1e-6
    assert np.allclose(fresh.get_forces(apply_constraint=False), best.get_forces(apply_constraint=False), atol=1e-6)
    assert np.array_equal(best.positions[:8], slab.positions), "the template keeps every bit"
    assert list(best.constraints[0].index) == list(range(8)), "it was rigid"

    structures = run.structures
    assert structures["positions"].shape == (len(structures["index"]), 9, 3)
    lowest = int(np.nanargmin(np.where(structures["status"] == "ok", structures["energy"], np.nan)))
    assert structures.atoms(lowest).get_potential_energy() == run.energy
    assert list(run.history["iteration"]) == [0, 1, 2]
    assert run.history["best_energy_ev"][-1] == run.energy
    relaxed = run.minima(relax=True)
    assert relaxed[0].get_potential_energy() <= run.energy + 1e-9
    assert relaxed[0].info["relaxed"] and abs(relaxed[0].get_forces()).max() < 0.011
    assert godiff.same_structure(relaxed[0], godiff.relax(best, EMT())[0])
    assert run.report.path.is_file() and "<iframe" in run.report._repr_html_()


def test_the_program_does_the_same_run(task, tmp_path):
    """A built-in potential gives the same bits in Python and in the program, from the same configuration."""
    run = godiff.search(calculator="emt", out=tmp_path / "python", **task)
    program("search", run.folder / "config.toml", "--out", tmp_path / "program", "--quiet")
    same_run(tmp_path / "python", tmp_path / "program")


def test_a_preset_is_the_choice_of_the_program(slab, tmp_path):
    """`preset="auto"` is `godiff init`; keywords are stronger; a calculator object leads to the same choice."""
    events = []
    shorter = {"iterations": 2, "samples_per_iteration": 16, "training": {"steps_per_iteration": 5}}
    task = {"template": slab, "free": "Cu2", "preset": "auto"}
    run = godiff.search(calculator="emt", out=tmp_path / "python", callback=events.append, **task, **shorter)
    said = [event["text"] for event in events if event["event"] == "message"]
    assert any("evaluations of the potential chose the temperatures" in text for text in said), said
    # The run's own copy: a file written by ASE has fewer digits.
    program("init", "python/template.xyz", "Cu2", "--potential", "emt", cwd=tmp_path)
    config = tmp_path / "search.toml"
    text = config.read_text()
    assert "iterations = 20 " in text and "steps_per_iteration = 100 " in text
    config.write_text(text.replace("iterations = 20 ", "iterations = 2 ").replace("n = 100 ", "n = 5 "))
    program("search", config, "--out", tmp_path / "program", "--quiet")
    same_run(tmp_path / "python", tmp_path / "program")

    other = godiff.search(calculator=EMT(), out=tmp_path / "object", progress=False, **task, **shorter)
    temperatures = [line for line in run.config.splitlines() if line.startswith("kt_")]
    assert temperatures == [line for line in other.config.splitlines() if line.startswith("kt_")]
    mine = godiff.search(calculator="emt", out=tmp_path / "mine", progress=False, kt_initial_ev=0.3, **task, **shorter)
    assert "kt_initial_ev = 0.3\n" in mine.config
    for wrong, sentence in (
        ({"preset": "best"}, 'there is no preset "best"'),
        ({"config": config}, "a file is one"),
        ({"free": "Xx"}, "Xx"),
    ):
        with pytest.raises(ValueError, match=sentence):
            godiff.search(calculator="emt", out=tmp_path / "wrong", **task | wrong)
    assert not (tmp_path / "wrong").exists()


def test_python_extends_runs_of_the_program_and_the_other_way_round(task, tmp_path):
    whole = godiff.search(calculator="emt", out=tmp_path / "whole", **task | {"kt_initial_ev": 0.1})
    short = task | {"iterations": 2, "kt_initial_ev": 0.1}
    by_python = godiff.search(calculator="emt", out=tmp_path / "python", **short)
    assert by_python.summary["evaluations"] < whole.summary["evaluations"]
    config = tmp_path / "longer.toml"
    for name in ("template.xyz",):
        shutil.copy(by_python.folder / name, tmp_path / name)
    config.write_text(by_python.config.replace("iterations = 2", "iterations = 3"))
    program("search", config, "--out", by_python.folder, "--resume", "--quiet")
    start = tmp_path / "start.toml"
    start.write_text(config.read_text().replace("iterations = 3", "iterations = 2"))
    program("search", start, "--out", tmp_path / "program", "--quiet")
    by_program = godiff.open(tmp_path / "program").extend(iterations=3, progress=False)
    one, other = by_python.structures, by_program.structures
    assert np.array_equal(one["positions"], other["positions"]) and len(one["index"]) == 18
    assert by_program.best.positions.tobytes() == by_python.best.positions.tobytes()


def test_a_killed_process_leaves_a_run_that_the_program_ends(task, slab, tmp_path):
    slab.write(tmp_path / "slab.xyz")
    script = textwrap.dedent(f"""
        import os, signal, sys
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        from conftest import SHORT
        import godiff
        def kill(event):
            if event["event"] == "iteration_done":
                os.kill(os.getpid(), signal.SIGKILL)
        godiff.search(template="slab.xyz", calculator="ase.calculators.emt:EMT", out="killed", callback=kill, **SHORT)
    """)
    killed = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=False)
    assert killed.returncode == -signal.SIGKILL
    folder = tmp_path / "killed"
    assert godiff.open(folder).status == "running"
    program("search", folder / "config.toml", "--out", folder, "--resume", "--quiet")
    keys = task | {"template": tmp_path / "slab.xyz"}
    whole = godiff.search(calculator="ase.calculators.emt:EMT", out=tmp_path / "whole", **keys)
    same_run(folder, whole.folder)


def test_an_object_is_asked_as_a_worker_is(task, tmp_path):
    """The same answers, but for the last bits: the units of the workers' protocol round."""
    task = task | {"iterations": 1}
    by_object = godiff.search(calculator=EMT(), out=tmp_path / "object", **task).structures
    by_worker = godiff.search(calculator=EMT, workers=2, out=tmp_path / "worker", **task).structures
    assert np.array_equal(by_object["positions"], by_worker["positions"])
    for name in ("energy", "forces"):
        assert np.allclose(by_object[name], by_worker[name], rtol=1e-12, atol=1e-11, equal_nan=True), name


def test_the_program_says_that_it_cannot_make_an_object(task, tmp_path):
    run = godiff.search(calculator=EMT(), out=tmp_path / "run", **task)
    answer = program("search", run.folder / "config.toml", "--out", run.folder, "--resume", check=False)
    assert answer.returncode == 2
    assert "is an object of the Python process that started the run (ase.calculators.emt:EMT)" in answer.stderr
    with pytest.raises(ValueError, match="is an object of the Python process"):
        godiff.open(run.folder).extend(iterations=4, progress=False)
    assert godiff.open(run.folder, EMT()).extend(iterations=4, progress=False).status == "done"


def test_constraints_say_what_moves(task, slab, tmp_path):
    """As in ASE: atoms that a constraint leaves free may move."""
    slab.set_constraint(FixAtoms(range(4)))
    run = godiff.search(calculator="emt", out=tmp_path / "run", **task)
    assert "[system.mobile]" in run.config or "mobile = " in run.config
    moved = run.structures["positions"]
    assert np.array_equal(moved[:, :4], np.broadcast_to(slab.positions[:4], (len(moved), 4, 3)))
    assert (np.ptp(moved[:, 4:8], axis=0) > 0).all()


def test_seeds_agree(task, tmp_path):
    runs = godiff.search(calculator=EMT(), seeds=range(2), n_relaxed=2, out=tmp_path / "runs", **task)
    assert [run.seed for run in runs] == [0, 1]
    assert runs.best.get_potential_energy() == min(run.energy for run in runs)
    assert runs.minima and len(runs.agreement["seeds"]) == 2
    assert [run.seed for run in godiff.open(tmp_path / "runs")] == [0, 1]


def test_a_callback_hears_the_events(task, tmp_path):
    events = []
    godiff.search(calculator="emt", out=tmp_path / "run", callback=events.append, **task)
    kinds = [event["event"] for event in events]
    assert kinds[0] == "run_started" and kinds[-1] == "finished" and kinds.count("iteration_done") == 3
    with pytest.raises(ZeroDivisionError):
        godiff.search(calculator="emt", out=tmp_path / "other", callback=lambda event: 1 / 0, **task)
    assert godiff.open(tmp_path / "other").status == "interrupted"


def test_ctrl_c_gives_the_run_so_far(task, tmp_path):
    """The signal of a terminal ends the run cleanly; resumed, it ends as one without interruption."""

    def press(event):
        if event["event"] == "iteration_done" and event["iteration"] == 0:
            signal.raise_signal(signal.SIGINT)

    # So many iterations that the search still goes on when a crowded machine looks at the signal.
    task = task | {"iterations": 60}
    run = godiff.search(calculator=EMT(), out=tmp_path / "run", callback=press, **task)
    assert run.status == "interrupted" and 0 < run.evaluations < 360
    assert run.resume(progress=False).status == "done"
    whole = godiff.search(calculator=EMT(), out=tmp_path / "whole", **task)
    same_run(run.folder, whole.folder)


def test_other_threads_run_and_search_too(task, tmp_path):
    """Two searches in two threads do not disturb each other, and Python goes on meanwhile."""
    alone = godiff.search(calculator=EMT(), out=tmp_path / "alone", **task)
    done = []

    def work(number):
        done.append(godiff.search(calculator=EMT(), out=tmp_path / str(number), **task))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    ticks = 0
    while any(thread.is_alive() for thread in threads):
        time.sleep(0.001)
        ticks += 1
    assert len(done) == 2 and ticks > 10
    for run in done:
        same_run(run.folder, alone.folder)


def test_a_file_and_keywords_are_one_configuration(repository, tmp_path):
    smoke = repository / "configs" / "smoke.toml"
    changed = godiff.search(smoke, iterations=1, out=tmp_path / "run", progress=False)
    assert len(changed.history["iteration"]) == 1
    assert ase.io.read(tmp_path / "run" / "best.xyz").get_potential_energy() == changed.energy


def test_a_baseline_takes_the_same_task(task, tmp_path):
    keys = task | {"basin_hopping": {"evaluations": 60}}
    run = godiff.baseline("basin-hopping", calculator=EMT(), out=tmp_path / "run", **keys)
    assert run.status == "done" and run.evaluations == 60
    assert godiff.open(run.folder).method == "basin-hopping"


def test_a_benchmark_counts_both_methods(task, tmp_path):
    target = godiff.search(calculator="emt", out=tmp_path / "known", **task).minima(relax=True)[0]
    keys = {key: value for key, value in task.items()} | {
        "target": {"structure": target, "match": {"energy_within_ev": 0.5}}
    }
    keys["random_search"] = {"evaluations": 40}
    results = godiff.benchmark(
        {"cu": None}, ("search", "rss"), calculator="emt", runs=1, out=tmp_path / "benchmark", **keys
    )
    assert [row["name"] for row in results] == ["cu", "cu-rss"]


def test_tables_become_frames_of_pandas(task, tmp_path):
    pandas = pytest.importorskip("pandas")
    run = godiff.search(calculator="emt", out=tmp_path / "run", **task)
    frame = run.structures.pandas()
    assert isinstance(frame, pandas.DataFrame) and len(frame) == 18 and "energy" in frame
    assert run.history._repr_html_().count("<tr") == 1 + 3
