"""Whether two builds of godiff give the same bits: same_bits.py OLD NEW [CONFIG[:COMMAND] ...]

Runs every configuration with both programs and the same seed, on one thread, and compares what the archives hold (positions,
energies, forces, status, kT, in order) and the tensors of the models, bit for bit. Exit code 1 if anything differs.

An OLD program that knows the keys of [proposals] in [guidance] gets them there, without those that it does not know.
"""

import re
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

ROWS = "SELECT unique_id, positions, energy, forces, json_extract(key_value_pairs, '$.kt_ev'), json_extract(key_value_pairs, '$.status') FROM systems ORDER BY id"
CONFIGS = ["configs/smoke.toml", "configs/pt-adatom.toml", "docs/results/configs/pt-heptamer-hops-500.toml", "configs/lj13.toml:basin-hopping"]
SEED = "3"


def for_older(text):
    """`text` with the keys of [proposals] in [guidance], without those whose values here are all that the older program does."""
    found = re.search(r"(?ms)^\[proposals\][^\n]*\n(.*?)(?=^\[|\Z)", text)
    if not found:
        return text
    without, keys = text.replace(found[0], ""), re.sub(r'(?m)^(hop_parents = "buffer"|hop_moves = "fixed").*\n', "", found[1])
    return re.sub(r"(?m)^\[guidance\][^\n]*\n", lambda head: head[0] + keys, without)


def run(program, config, command, folder, older):
    copy = config.parent / f".same-bits-{config.name}"
    arguments = [program, command, copy, "--seed", SEED, "--out", folder, "--threads", "1", "--quiet"]
    arguments += ["--device", "cpu"] if command == "search" else []
    try:
        copy.write_text(config.read_text())
        # Exit code 2: a key that this program does not know.
        if subprocess.run(arguments, check=False, capture_output=older).returncode == 2 and older:
            copy.write_text(for_older(config.read_text()))
            subprocess.run(arguments, check=True)
    finally:
        copy.unlink()


def rows(folder):
    # The first half of an id names the archive; it differs from run to run.
    with sqlite3.connect(folder / "archive.db") as archive:
        return [(row[0][16:], *row[1:]) for row in archive.execute(ROWS)]


def model(folder):
    path = folder / "model.safetensors"
    if not path.exists():
        return b""
    data = path.read_bytes()
    return data[8 + int.from_bytes(data[:8], "little"):]


def main():
    old, new, *configs = sys.argv[1:]
    differs = False
    for entry in configs or CONFIGS:
        config, _, command = entry.partition(":")
        with tempfile.TemporaryDirectory() as place:
            folders = [Path(place) / name for name in ("old", "new")]
            for program, folder in zip((old, new), folders):
                run(Path(program).resolve(), Path(config).resolve(), command or "search", folder, program == old)
            (old_rows, new_rows), (old_model, new_model) = map(rows, folders), map(model, folders)
            same = old_rows == new_rows and old_model == new_model
            differs |= not same
            words = "same bits" if same else "DIFFERENT"
            print(f"{entry}: {len(old_rows)} and {len(new_rows)} structures, {len(old_model)} bytes of model: {words}", flush=True)
    sys.exit(differs)


if __name__ == "__main__":
    main()
