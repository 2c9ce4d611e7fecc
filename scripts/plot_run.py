#!/usr/bin/env python3
"""Draws a run of `godiff search`: where the samples lie at a few temperatures, and every energy.

    pip install ase matplotlib
    python scripts/plot_run.py runs/pt-adatom-001 -o run.png

Reads the run's archive.db alone, through ASE. The upper panels look down on the structure along z: the template in grey,
the free atoms of all samples of an iteration as dots, coloured by energy. The lower panel shows the energy of every
sample, the lowest so far, and the temperature.
"""

import argparse
from pathlib import Path

import ase.db
import matplotlib
import numpy as np
from ase.data import covalent_radii
from matplotlib.patches import Circle, Polygon

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLOURS = "viridis"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="the folder of a run, or its archive.db")
    parser.add_argument("-o", "--output", type=Path, default=Path("run.png"), help="png, svg or pdf (default: run.png)")
    parser.add_argument("-n", "--panels", type=int, default=4, help="iterations to show from above (default: 4)")
    return parser.parse_args()


def read_rows(path):
    """The evaluated structures in the order in which they were sampled."""
    archive = path / "archive.db" if path.is_dir() else path
    if not archive.is_file():
        raise SystemExit(f"{archive}: no such archive; name the folder of a run")
    rows = [row for row in ase.db.connect(archive).select(status="ok")]
    if not rows:
        raise SystemExit(f"{archive}: holds no evaluated structure yet")
    return sorted(rows, key=lambda row: (row.iteration, row.sample))


def draw_from_above(axes, atoms, n_template, samples, energies, norm):
    """The template as circles, each with its periodic images near the cell, and the samples' free atoms as dots."""
    a, b = atoms.cell.array[0, :2], atoms.cell.array[1, :2]
    periodic = atoms.pbc[:2]
    corners = np.array([0 * a, a, a + b, b])
    shifts = [
        i * a + j * b
        for i in ((-1, 0, 1) if periodic[0] else (0,))
        for j in ((-1, 0, 1) if periodic[1] else (0,))
    ]
    low, high = corners.min(0) - 0.6, corners.max(0) + 0.6
    template = atoms.positions[:n_template]
    order = np.argsort(template[:, 2])
    depth = np.ptp(template[:, 2]) or 1.0 if n_template else 1.0
    for atom in order:
        grey = 0.62 + 0.33 * (template[atom, 2] - template[:, 2].min()) / depth
        for shift in shifts:
            centre = template[atom, :2] + shift
            radius = covalent_radii[atoms.numbers[atom]]
            axes.add_patch(Circle(centre, radius, facecolor=str(grey), edgecolor="0.45", linewidth=0.5))
    points = samples[:, n_template:, :2].reshape(-1, 2)
    colours = np.repeat(energies, len(atoms) - n_template)
    for shift in shifts:
        dots = axes.scatter(*(points + shift).T, c=colours, cmap=COLOURS, norm=norm, s=22, zorder=3, linewidths=0.4, edgecolors="white")
    if atoms.cell.rank >= 2:
        axes.add_patch(Polygon(corners, fill=False, edgecolor="black", linewidth=0.8, zorder=4))
    else:
        low, high = points.min(0) - 1.5, points.max(0) + 1.5
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal", xticks=[], yticks=[])
    return dots


def main():
    options = arguments()
    rows = read_rows(options.run)
    atoms = rows[0].toatoms()
    n_template = len(atoms.constraints[0].get_indices()) if atoms.constraints else 0
    iterations = np.array([row.iteration for row in rows])
    energies = np.array([row.energy for row in rows])
    positions = np.array([row.positions for row in rows])
    if n_template and atoms.pbc.any():
        # The free atoms of every sample in the same cell.
        scaled = positions @ np.linalg.inv(atoms.cell.complete().array)
        scaled[:, n_template:] -= np.floor(scaled[:, n_template:]) * atoms.pbc
        positions = scaled @ atoms.cell.complete().array
    # Absurd energies of the first samples would leave no colours for the others.
    low = energies.min()
    norm = plt.Normalize(low, low + 2 * (np.quantile(energies, 0.8) - low))

    last = iterations.max()
    shown = np.unique(np.linspace(0, last, options.panels).round().astype(int))
    shown = [k for k in shown if (iterations == k).any()]
    figure = plt.figure(figsize=(2.6 * len(shown), 4.4), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(1.0, 1.3))
    panels = upper.subplots(1, len(shown), squeeze=False)[0]
    for axes, iteration in zip(panels, shown):
        chosen = iterations == iteration
        dots = draw_from_above(axes, atoms, n_template, positions[chosen], energies[chosen], norm)
        kt = rows[int(np.argmax(chosen))].kt_ev
        axes.set_title(f"iteration {iteration + 1}, kT = {kt:.2g} eV", fontsize=9)

    axes = lower.subplots()
    count = np.arange(1, len(rows) + 1)
    axes.scatter(count, energies, c=energies, cmap=COLOURS, norm=norm, s=9)
    axes.plot(count, np.minimum.accumulate(energies), color="black", linewidth=1.2, drawstyle="steps-post", label="lowest so far")
    axes.set(xlabel="evaluation", ylabel="energy (eV)", xlim=(0, len(rows) + 1))
    axes.set_ylim(energies.min() - 0.08 * (norm.vmax - norm.vmin), norm.vmax)
    temperature = axes.twinx()
    temperature.plot(count, [row.kt_ev for row in rows], color="tab:red", linewidth=1.0, drawstyle="steps-post")
    temperature.set_yscale("log")
    temperature.set_ylabel("kT (eV)", color="tab:red")
    axes.legend(loc="upper right", fontsize=8)
    lower.colorbar(dots, ax=[axes, temperature], label="energy (eV)", extend="max", pad=0.01)
    figure.savefig(options.output, dpi=110)
    print(f"{options.output}: {len(rows)} structures, lowest energy {energies.min():.4f} eV")


main()
