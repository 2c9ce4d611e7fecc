#!/usr/bin/env python3
"""Runs one configuration over several seeds and prints a Markdown table of what came out.

    scripts/seeds.py configs/pt-adatom.toml --seeds 0-9 --out runs/ten [--minimum 5.505784] [--godiff target/release/godiff]

Runs already there are continued or, when done, only read, so the script can be stopped and started again. The best structure
of every run is relaxed with the run's built-in EMT potential; with --minimum the table says whether it ends in that minimum.
Needs nothing but Python.
"""
import argparse
import json
import subprocess
import tempfile
from pathlib import Path


def relaxed_energy(godiff, best):
    """Energy, eV, of the minimum that `best` lies in."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "relaxed.xyz"
        subprocess.run([godiff, "relax", str(best), "--potential", "emt", "-o", str(out)], check=True, stdout=subprocess.DEVNULL)
        comment = out.read_text().splitlines()[1]
    return float(next(word.split("=")[1] for word in comment.split() if word.startswith("energy=")))


def run(arguments, seed):
    folder = Path(f"{arguments.out}-{seed}")
    summary = folder / "summary.json"
    if not (summary.is_file() and json.loads(summary.read_text())["status"] == "done"):
        command = [arguments.godiff, "search", arguments.config, "--seed", str(seed), "--out", str(folder), "--quiet"]
        if (folder / "config.toml").is_file():
            command.append("--resume")
        subprocess.run(command, check=True)
    return folder, json.loads(summary.read_text())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--seeds", default="0-9", help="first-last")
    parser.add_argument("--out", required=True, help="run folders are OUT-SEED")
    parser.add_argument("--minimum", type=float, help="energy, eV, of the minimum sought")
    parser.add_argument("--godiff", default="target/release/godiff")
    arguments = parser.parse_args()
    first, last = (int(seed) for seed in arguments.seeds.split("-"))
    print("| seed | best / eV | last median / eV | relaxed best / eV | in the minimum | evaluations | target at | seconds |")
    print("|---:|---:|---:|---:|:---:|---:|---:|---:|")
    hits = 0
    for seed in range(first, last + 1):
        folder, summary = run(arguments, seed)
        metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        relaxed = relaxed_energy(arguments.godiff, folder / "best.xyz")
        hit = arguments.minimum is not None and abs(relaxed - arguments.minimum) < 1e-3
        near = arguments.minimum is not None and summary["best_energy_ev"] - arguments.minimum < 0.05
        hits += hit and near
        print(
            f"| {seed} | {summary['best_energy_ev']:.4f} | {metrics[-1]['energy_median_ev']:.4f} | {relaxed:.4f} | "
            f"{'yes' if hit else 'no'} | {summary['evaluations']} | {summary['target_first_evaluation'] or '–'} | "
            f"{summary['seconds']:.0f} |",
            flush=True,
        )
    if arguments.minimum is not None:
        print(f"\n{hits} of {last - first + 1} runs end within 0.05 eV of {arguments.minimum} eV and in its basin.")


main()
