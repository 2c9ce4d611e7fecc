"""Evaluates structures with an ASE calculator for godiff, over i-PI's socket protocol.

    python worker.py SOCKET MODULE:NAME KEYWORDS

SOCKET is the path of a Unix socket, KEYWORDS a JSON object of the calculator's keyword arguments. The calculator is made before
the socket is opened, so a connection means that it works. Its output goes where godiff sends this process's output.

The text of INIT holds the facts that the protocol leaves out: `batch_size:B,numbers:78 78,pbc:1 1 0`, and as JSON the further keys
and columns of the structure: `,extras:{"info": {...}, "arrays": {...}}`. If the calculator raises an
exception at a structure, the answer has energies and forces that are not numbers, and the reason as JSON, {"error": "..."}. The
process continues with the next structure.

If godiff is killed, this process, the processes that its calculator has started and the folder of SOCKET disappear too.
"""

import importlib
import json
import os
import shutil
import signal
import socket
import sys
import threading
import time
import traceback

# Exit code if a second attempt to make the calculator would fail too.
HOPELESS = 64

try:
    import ase
    import numpy as np
except ImportError as missing:
    print(f"it has no {missing.name}, which calculators of ASE need", flush=True)
    sys.exit(HOPELESS)

# As in godiff: CODATA 2014.
BOHR_ANGSTROM = 0.5291772105638411
HARTREE_EV = 27.211386024367243


def make_calculator(path, keywords):
    module, _, name = path.partition(":")
    target = importlib.import_module(module)
    for part in name.split("."):
        target = getattr(target, part)
    return target(**keywords)


def complain():
    """Puts the exception that is handled now into the log."""
    traceback.print_exc()


def one_by_one(calculator, structures):
    """A list of (energy, forces, error) with eV and eV/Angstrom."""
    results = []
    for atoms in structures:
        try:
            # An answer must not depend on the structures before. Some calculators start from the density of the last one, and ASE's
            # do not see that the charge of the same atoms has changed.
            getattr(calculator, "reset", lambda: None)()
            atoms.calc = calculator
            forces = np.asarray(atoms.get_forces(apply_constraint=False), float).reshape(len(atoms), 3)
            # Some calculators give an array with one number.
            energy = np.asarray(atoms.get_potential_energy(), float).item()
            results.append((energy, forces, None))
        except Exception as error:
            complain()
            results.append((np.nan, np.full((len(atoms), 3), np.nan), f"{type(error).__name__}: {error}"))
    return results


def with_mace(calculator, structures):
    """All structures as one batch of graphs."""
    from mace import data
    from mace.tools import torch_geometric, torch_tools

    keys = data.KeySpecification(info_keys=calculator.info_keys, arrays_keys=calculator.arrays_keys)
    with torch_tools.default_dtype(calculator.default_dtype):
        configurations = [
            data.config_from_atoms(atoms, key_specification=keys, head_name=calculator.head) for atoms in structures
        ]
        graphs = [
            data.AtomicData.from_config(
                one, z_table=calculator.z_table, cutoff=calculator.r_max, heads=calculator.available_heads
            )
            for one in configurations
        ]
    batch = torch_geometric.Batch.from_data_list(graphs).to(calculator.device)
    out = calculator.models[0](batch.to_dict(), compute_stress=False)
    energies = out["energy"].detach().cpu().numpy() * calculator.energy_units_to_eV
    forces = out["forces"].detach().cpu().numpy() * (calculator.energy_units_to_eV / calculator.length_units_to_A)
    forces = np.split(forces, np.cumsum([len(atoms) for atoms in structures])[:-1])
    return [(float(e), np.asarray(f, float), None) for e, f in zip(energies, forces)]


def with_chgnet(calculator, structures):
    """Graphs one by one, the network once for all."""
    from pymatgen.io.ase import AseAtomsAdaptor

    model = calculator.model
    graphs = [model.graph_converter(AseAtomsAdaptor.get_structure(atoms)) for atoms in structures]
    predictions = model.predict_graph(graphs, task="ef", batch_size=len(graphs))
    results = []
    for atoms, prediction in zip(structures, predictions):
        factor = len(atoms) if model.is_intensive else 1
        results.append((float(prediction["e"]) * factor, np.asarray(prediction["f"], float), None))
    return results


def together(calculator):
    """The function that evaluates a batch at once with this calculator, or None."""
    module, name = type(calculator).__module__, type(calculator).__name__
    if module.startswith("mace.") and name == "MACECalculator":
        plain = len(calculator.models) == 1 and not getattr(calculator, "use_compile", False)
        return with_mace if plain and calculator.model_type in ("MACE", "ScaleShiftMACE") else None
    return with_chgnet if module.startswith("chgnet.") and name == "CHGNetCalculator" else None


def lost_device():
    """Whether this process has lost a GPU of torch: then every call fails, for any structure, until a new process starts."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return False
    try:
        torch.cuda.synchronize()
    except Exception:
        return True
    return False


class Evaluator:
    def __init__(self, calculator):
        self.calculator = calculator
        self.batched = together(calculator)

    def __call__(self, structures):
        if self.batched is not None and len(structures) > 1:
            try:
                return self.batched(self.calculator, structures)
            except Exception:
                complain()
                print("godiff: this batch goes one by one", flush=True)
        results = one_by_one(self.calculator, structures)
        if any(error is not None for _, _, error in results) and lost_device():
            sys.exit("godiff: the GPU is lost to this process")
        return results


class Connection:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path)

    def receive(self, n_bytes):
        data = bytearray(n_bytes)
        view = memoryview(data)
        while len(view):
            got = self.socket.recv_into(view)
            if got == 0:
                sys.exit(0)
            view = view[got:]
        return data

    def word(self):
        return bytes(self.receive(12)).decode("ascii", "replace").strip()

    def integer(self):
        return int(np.frombuffer(self.receive(4), np.int32)[0])

    def floats(self, *shape):
        return np.frombuffer(self.receive(8 * int(np.prod(shape))), np.float64).reshape(shape)

    def send(self, word, *parts):
        self.socket.sendall(word.ljust(12).encode() + b"".join(parts))


def packed(results):
    """The bytes behind FORCEREADY."""
    energies = np.array([energy for energy, _, _ in results]) / HARTREE_EV
    forces = np.array([forces for _, forces, _ in results]) * (BOHR_ANGSTROM / HARTREE_EV)
    yield energies.astype(np.float64).tobytes()
    yield np.int32(forces.shape[1]).tobytes()
    yield forces.astype(np.float64).tobytes()
    yield np.zeros((len(results), 3, 3)).tobytes()
    for _, _, error in results:
        text = b"" if error is None else json.dumps({"error": error}).encode()
        yield np.int32(len(text)).tobytes() + text


def with_extras(atoms, extras):
    """`atoms` with the keys and columns that came with the structure: charge, spin, initial_magmoms, tags, ..."""
    atoms.info.update(extras.get("info", {}))
    for name, values in extras.get("arrays", {}).items():
        atoms.set_array(name, np.array(values))
    return atoms


def serve(connection, evaluate):
    settings = {}
    results = None
    while True:
        word = connection.word()
        if word == "STATUS":
            state = "NEEDINIT" if not settings else "READY" if results is None else "HAVEDATA"
            connection.send(state)
        elif word == "INIT":
            connection.integer()
            text, _, extras = connection.receive(connection.integer()).decode().partition(",extras:")
            extras = json.loads(extras or "{}")
            settings = dict(part.strip().split(":", 1) for part in text.split(",") if ":" in part)
            numbers = [int(number) for number in settings["numbers"].split()]
            pbc = [flag == "1" for flag in settings["pbc"].split()]
            size = int(settings.get("batch_size", 1))
        elif word == "POSDATA":
            if size > 1:
                n_atoms = connection.integer()
                cells = connection.floats(size, 2, 3, 3)[:, 0]
                positions = connection.floats(size, n_atoms, 3)
            else:
                cells = connection.floats(1, 2, 3, 3)[:, 0]
                n_atoms = connection.integer()
                positions = connection.floats(1, n_atoms, 3)
            # Copies that only fill the batch are not computed.
            n = size
            while n > 1 and np.array_equal(positions[n - 1], positions[n - 2]):
                n -= 1
            structures = [
                with_extras(ase.Atoms(numbers, positions=r * BOHR_ANGSTROM, cell=h.T * BOHR_ANGSTROM, pbc=pbc), extras)
                for r, h in zip(positions[:n], cells)
            ]
            results = evaluate(structures)
            results += [results[-1]] * (size - n)
        elif word == "GETFORCE":
            connection.send("FORCEREADY", *packed(results))
            results = None
        elif word == "EXIT":
            return
        else:
            raise RuntimeError(f"unexpected message {word!r}")


def end_with(parent, folder):
    """Waits for the process `parent` to die, then removes `folder` and ends this process's group, which godiff made for it."""
    while os.getppid() == parent:
        time.sleep(0.5)
    shutil.rmtree(folder, ignore_errors=True)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def main():
    path, calculator, keywords = sys.argv[1:]
    watch = (os.getppid(), os.path.dirname(path))
    threading.Thread(target=end_with, args=watch, daemon=True).start()
    # A calculator may be a module of the folder in which godiff was started.
    sys.path[0] = os.getcwd()
    try:
        evaluate = Evaluator(make_calculator(calculator, json.loads(keywords)))
    except (ImportError, AttributeError, TypeError, ValueError, KeyError, FileNotFoundError):
        traceback.print_exc()
        sys.exit(HOPELESS)
    try:
        connection = Connection(path)
    except ConnectionRefusedError:
        # godiff was killed before this process could watch it.
        shutil.rmtree(os.path.dirname(path), ignore_errors=True)
        raise
    serve(connection, evaluate)


if __name__ == "__main__":
    main()
