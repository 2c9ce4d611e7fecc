"""What is wrong is said in the program's sentences."""

import threading
import time

import numpy as np
import pytest
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.constraints import FixCartesian

import godiff


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"iteratons": 3}, "unknown key `iteratons`: it is neither a section"),
        ({"batch": 3}, "`batch` is a key of potential and of training; give the section"),
        ({"iterations": "x"}, 'search.iterations: found the text "x" where a whole number'),
        ({"kt_final_ev": float("nan")}, "search.kt_final_ev is nan: write a finite number"),
        ({"kt_final_ev": 5.0}, "search.kt_final_ev: "),
        ({"free": "Xx"}, "system.free: "),
        ({"template": "none.xyz"}, "system.template: "),
        ({"calculator": "mace"}, 'there is no potential "mace"; this build has "emt"'),
        ({"calculator": 3}, "the calculator is a int; give a calculator of ASE"),
        ({"calculator": EMT(), "workers": 4}, "workers are other processes and cannot get this calculator object"),
        ({"calculator": lambda: EMT()}, "workers cannot import"),
        ({"seeds": [1, 1]}, "seeds is .* give different whole numbers"),
        ({"device": "tpu"}, "unknown device 'tpu'"),
        ({"system": 3}, "system is no table of keys"),
        ({"potential": "emt"}, "potential and calculator are both given"),
        ({"seed": 2**70}, "seed is 1180591620717411303424: the number is too large"),
    ],
)
def test_bad_input_is_a_value_error(task, tmp_path, keys, sentence):
    keys = {"calculator": "emt"} | task | keys
    with pytest.raises(ValueError, match=sentence):
        godiff.search(out=tmp_path / "run", **keys)
    assert not (tmp_path / "run" / "config.toml").exists()


def test_a_folder_with_a_run_is_kept(task, tmp_path):
    godiff.search(calculator="emt", out=tmp_path / "run", **task)
    with pytest.raises(ValueError, match="holds another run already"):
        godiff.search(calculator="emt", out=tmp_path / "run", **task)
    with pytest.raises(ValueError, match="holds no run"):
        godiff.open(tmp_path)


def test_other_constraints_are_refused(task, slab, tmp_path):
    slab.set_constraint(FixCartesian(0, mask=(True, False, False)))
    with pytest.raises(ValueError, match="has the constraint FixCartesian"):
        godiff.search(calculator="emt", out=tmp_path / "run", **task)


def test_a_disk_that_fails_is_an_os_error(slab):
    with pytest.raises(OSError, match="cannot be written"):
        godiff._core.write_structures("/proc/none.xyz", [godiff._atoms.parts(slab)])


class Odd(EMT):
    """EMT that misbehaves at some calls."""

    def __init__(self, act):
        super().__init__()
        self.act, self.calls = act, 0

    def calculate(self, *arguments, **keywords):
        self.calls += 1
        super().calculate(*arguments, **keywords)
        self.act(self)


def test_a_calculator_that_raises_now_and_then(task, tmp_path):
    def act(calculator):
        if calculator.calls == 2:
            raise RuntimeError("no convergence")

    run = godiff.search(calculator=Odd(act), out=tmp_path / "run", **task)
    assert run.status == "done"
    assert (run.structures["status"] == "failed").sum() == 1
    failed = next((tmp_path / "run" / "failed").iterdir()).read_text()
    assert "given up because the potential raised RuntimeError: no convergence" in failed


def test_a_calculator_that_always_raises_ends_the_run(task, tmp_path):
    def act(calculator):
        raise ValueError("wrong keys")

    messages = []
    keys = task | {"end_after_failures": 3, "callback": messages.append}
    with pytest.raises(RuntimeError, match="failed at 3 structures in a row, .* raised ValueError: wrong keys"):
        godiff.search(calculator=Odd(act), out=tmp_path / "run", **keys)
    assert godiff.open(tmp_path / "run").status == "failed"


def test_energies_that_are_no_numbers(task, tmp_path):
    def act(calculator):
        if calculator.calls == 1:
            calculator.results["energy"] = np.nan

    run = godiff.search(calculator=Odd(act), out=tmp_path / "run", **task)
    failed = next((run.folder / "failed").iterdir()).read_text()
    assert "given up because the potential gave an energy or forces that are not numbers" in failed


def test_a_calculator_may_print(task, tmp_path, capsys):
    run = godiff.search(calculator=Odd(lambda calculator: print("hello")), out=tmp_path / "run", **task)
    assert run.status == "done" and "hello" in capsys.readouterr().out


def test_a_calculator_that_hangs_ends_the_run(task, tmp_path):
    released = threading.Event()

    def act(calculator):
        if calculator.calls == 2:
            released.wait(60)

    keys = task | {"call_limit_seconds": 0.5}
    start = time.monotonic()
    with pytest.raises(RuntimeError, match="the calculator gave no answer within 0.500 s, and a call in this process"):
        godiff.search(calculator=Odd(act), out=tmp_path / "run", **keys)
    assert time.monotonic() - start < 30
    released.set()
    assert godiff.open(tmp_path / "run", EMT()).resume(progress=False).status == "done"


def test_a_calculator_that_ends_its_process_ends_the_run(task, tmp_path):
    def act(calculator):
        raise SystemExit("enough")

    with pytest.raises(RuntimeError, match="the calculator ended: SystemExit: enough"):
        godiff.search(calculator=Odd(act), out=tmp_path / "run", **task)


def test_a_calculator_that_cannot_be_pickled_is_called_here(task, tmp_path):
    class Local(Calculator):
        implemented_properties = ["energy", "forces"]
        lock = threading.Lock()

        def calculate(self, atoms=None, properties=None, system_changes=None):
            with self.lock:
                self.results = {"energy": float((atoms.positions**2).sum()), "forces": -2 * atoms.positions}

    run = godiff.search(calculator=Local(), out=tmp_path / "run", **task)
    assert run.status == "done" and "Local" in run.config


def test_other_questions_have_sentences_too(task, slab, tmp_path):
    run = godiff.search(calculator="emt", out=tmp_path / "run", **task)
    keys = task | {"calculator": "emt"}
    with pytest.raises(ValueError, match="there is no method 'annealing'; write one of search, rss"):
        godiff.baseline("annealing", out=tmp_path / "other", **keys)
    with pytest.raises(ValueError, match="cu has no target; a benchmark counts"):
        godiff.benchmark({"cu": None}, out=tmp_path / "other", **keys)
    with pytest.raises(ValueError, match="the model has no learned forces"):
        run.model.forces(run.best)
    with pytest.raises(ValueError, match="this table holds no structures"):
        run.history.atoms(0)
    other = run.best
    other.cell[2, 2] += 1
    with pytest.raises(ValueError, match="the second structure has another cell than the first"):
        godiff.same_structure(run.best, other)
    with pytest.raises(TypeError, match="a structure is an ase.Atoms here, and this is a str"):
        godiff.relax(["a.xyz"], "emt")
    with pytest.raises(TypeError, match="free is a object: a configuration holds"):
        godiff.search(out=tmp_path / "other", **keys | {"free": object()})
    with pytest.raises(RuntimeError, match="cannot start 1 threads"):
        godiff.threads(1)

    def act(calculator):
        raise RuntimeError("no")

    with pytest.raises(
        RuntimeError, match="structure 0 has no energy: given up because the potential raised RuntimeError: no"
    ):
        godiff.evaluate(slab, Odd(act))
