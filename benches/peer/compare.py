#!/usr/bin/env python3
"""Compares godiff with PyTorch and SchNetPack on this machine: runs both in turn and prints a table in Markdown.

    pip install torch schnetpack==2.1.1 ase matscipy
    python benches/peer/compare.py --threads 2

Each round times the peer (schnetpack_step.py) and then godiff (`cargo bench --bench engine`) on every task, with the same
number of threads, so that both meet the same load. The table holds the medians over the rounds, and lowest and highest.
The machine should have nothing else to do.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TASKS = {"adatom": "adatom", "heptamer": "Pt₇"}
STEPS = {"training_step": "training step", "reverse_step": "reverse step"}


def run(command, threads):
    """What `command` prints, with `threads` threads for whatever it uses."""
    variables = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), str(threads))
    environment = {**os.environ, **variables, "CARGO_TERM_QUIET": "true"}
    result = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if result.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{result.stderr}")
    return result.stdout


def time_peer(task, options):
    command = [options.python, ROOT / "benches/peer/schnetpack_step.py", task]
    command += ["--threads", str(options.threads), "--steps", str(options.steps), "--device", options.peer_device]
    return json.loads(run(command, options.threads).splitlines()[-1])


def time_godiff(task, target, options):
    """Median milliseconds of the steps, from the files in which criterion keeps its estimates."""
    run(["cargo", "bench", "--locked", "--bench", "engine", "--", f"^({'|'.join(STEPS)})/{task}$"], options.threads)
    times = {}
    for description in (target / "criterion").glob("**/new/benchmark.json"):
        step, _, of_task = json.loads(description.read_text())["full_id"].partition("/")
        if step in STEPS and of_task == task:
            estimates = json.loads(description.with_name("estimates.json").read_text())
            times[f"{step}_ms"] = estimates["median"]["point_estimate"] / 1e6
    return times


def processor():
    """The name of the processor, where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def cell(values):
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", default=sys.executable, help="interpreter with torch and schnetpack (default: this one)")
    parser.add_argument("--threads", type=int, default=2, help="threads of both (default: 2)")
    parser.add_argument("--rounds", type=int, default=3, help="how often both are timed (default: 3)")
    parser.add_argument("--steps", type=int, default=20, help="timed steps of the peer in a round (default: 20)")
    parser.add_argument("--peer-device", default="cpu", help="cpu, cuda or cuda:INDEX (default: cpu)")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    options = parser.parse_args()

    run(["cargo", "bench", "--locked", "--bench", "engine", "--no-run"], options.threads)
    metadata = run(["cargo", "metadata", "--locked", "--no-deps", "--format-version", "1"], options.threads)
    target = Path(json.loads(metadata)["target_directory"])
    peer_times, godiff_times = {}, {}
    for number in range(1, options.rounds + 1):
        for task in options.tasks:
            print(f"round {number}: {task}", file=sys.stderr)
            peer, godiff = time_peer(task, options), time_godiff(task, target, options)
            for step in STEPS:
                peer_times.setdefault((task, step), []).append(peer[f"{step}_ms"])
                godiff_times.setdefault((task, step), []).append(godiff[f"{step}_ms"])

    device = "" if peer["device"] == "cpu" else f" on {peer['device']}"
    print(f"{processor()}, {options.threads} threads; medians of {options.rounds} rounds (lowest to highest), ms.\n")
    print(f"| task | | PyTorch {peer['torch']}, SchNetPack {peer['schnetpack']}{device} | godiff | times faster |")
    print("|---|---|---|---|---|")
    for (task, step), times in peer_times.items():
        own = godiff_times[task, step]
        ratio = statistics.median(times) / statistics.median(own)
        print(f"| {TASKS[task]} | {STEPS[step]} | {cell(times)} | {cell(own)} | {ratio:.1f} |")


main()
