#!/usr/bin/env python3
"""Times the training step and the reverse step of GO-Diff in PyTorch with SchNetPack: what benches/engine.rs times of godiff.

    pip install torch schnetpack==2.1.1 ase matscipy
    python benches/peer/schnetpack_step.py adatom --threads 2

Model, systems and batches are those of benches/engine.rs: PaiNN with 64 features, 4 blocks, 30 radial functions and a
cutoff of 6 Å under a score head of three gated equivariant blocks; the templates of configs/structures. A training step is
noise, radius graph, forward, backward, clipping and AdamW for one batch; a reverse step is forward, update and radius graph
for all samples. The graph comes from matscipy on the CPU.

Prints one JSON object: medians in milliseconds, the graph's share of the training step among them.
"""

import argparse
import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import ase.io
import matscipy
import numpy as np
import schnetpack
import torch
from matscipy.neighbours import neighbour_list
from schnetpack import properties
from schnetpack.nn import CosineCutoff, GatedEquivariantBlock, GaussianRBF
from schnetpack.representation import PaiNN
from torch.nn.functional import silu

STRUCTURES = Path(__file__).resolve().parents[2] / "configs" / "structures"
FEATURES, BLOCKS, RADIAL_FUNCTIONS, CUTOFF = 64, 4, 30, 6.0
SIGMA_MIN, SIGMA_MAX = 0.01, 1.0
REVERSE_TIMES = np.linspace(1.0, 0.005, 500)
N_WARM_UP = 3


@dataclass
class Task:
    template: str
    n_free: int
    heights: tuple  # of the free atoms above the template, Å
    n_batch: int
    n_samples: int


TASKS = {
    "adatom": Task("pt-stepped.xyz", 1, (0.0, 4.0), n_batch=8, n_samples=32),
    "heptamer": Task("pt111-6x6x2.xyz", 7, (1.0, 6.0), n_batch=16, n_samples=128),
}


class ScoreModel(torch.nn.Module):
    """PaiNN and the head that turns its features and the diffusion time into one vector an atom."""

    def __init__(self):
        super().__init__()
        self.backbone = PaiNN(FEATURES, BLOCKS, GaussianRBF(RADIAL_FUNCTIONS, CUTOFF), CosineCutoff(CUTOFF))
        # Scalars and vectors before and after each block; the time enters as two more scalars.
        sizes = [(FEATURES + 2, FEATURES)]
        while len(sizes) < 3:
            sizes.append(tuple(size // 2 for size in sizes[-1]))
        sizes.append((1, 1))
        blocks = [
            GatedEquivariantBlock(*before, *after, before[0], activation=silu, sactivation=silu if after != (1, 1) else None)
            for before, after in zip(sizes, sizes[1:])
        ]
        self.head = torch.nn.Sequential(*blocks)

    def forward(self, graph, times):
        """Scores, n_structures × n_atoms × 3, at one time for each structure."""
        features = self.backbone(graph)
        angle = (torch.pi * times).repeat_interleave(len(graph[properties.Z]) // len(times))[:, None]
        scalars = torch.cat([features["scalar_representation"], angle.sin(), angle.cos()], dim=-1)
        _, vectors = self.head((scalars, features["vector_representation"]))
        return vectors.view(len(times), -1, 3)


class Peer:
    """One task on one device."""

    def __init__(self, task, device):
        self.task, self.device = task, torch.device(device)
        self.template = ase.io.read(STRUCTURES / task.template)
        self.n_atoms = len(self.template) + task.n_free
        top = self.template.positions[:, 2].max()
        self.z_lo, self.z_hi = (top + height for height in task.heights)
        self.random = np.random.default_rng(0)
        self.model = ScoreModel().to(self.device)
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=1e-4, weight_decay=0.01)
        self.graph_seconds = []

    def prior(self, n):
        """Free positions, n × n_free × 3, uniform over the cell and the heights."""
        uniform = self.random.random((n, self.task.n_free, 3))
        in_plane = uniform[..., :2] @ self.template.cell.array[:2]
        in_plane[..., 2] = self.z_lo + (self.z_hi - self.z_lo) * uniform[..., 2]
        return in_plane

    def graph(self, free):
        """The radius graphs of all structures as SchNetPack's inputs."""
        started = time.perf_counter()
        first, second, vectors = [], [], []
        for k, positions in enumerate(free):
            positions = np.concatenate([self.template.positions, positions])
            i, j, r = neighbour_list("ijD", positions=positions, cell=self.template.cell.array, pbc=self.template.pbc, cutoff=CUTOFF)
            first.append(i + k * self.n_atoms)
            second.append(j + k * self.n_atoms)
            vectors.append(r)
        self.graph_seconds.append(time.perf_counter() - started)
        return {
            properties.Z: torch.full((len(free) * self.n_atoms,), self.template.numbers[0], device=self.device),
            properties.idx_i: torch.as_tensor(np.concatenate(first), dtype=torch.long, device=self.device),
            properties.idx_j: torch.as_tensor(np.concatenate(second), dtype=torch.long, device=self.device),
            properties.Rij: self.single(np.concatenate(vectors)),
        }

    def single(self, array):
        return torch.as_tensor(array, dtype=torch.float32, device=self.device)

    def training_step(self, clean):
        times = self.random.uniform(1e-5, 1.0, len(clean))
        sigma = np.sqrt((SIGMA_MIN + (SIGMA_MAX - SIGMA_MIN) * times) ** 2 - SIGMA_MIN**2)[:, None, None]
        noise = self.random.standard_normal(clean.shape)
        noisy = clean + sigma * noise
        noisy[..., 2] = noisy[..., 2].clip(self.z_lo, self.z_hi)
        score = self.model(self.graph(noisy), self.single(times))[:, -self.task.n_free :]
        loss = (self.single((noisy - clean) / sigma) + self.single(sigma) ** 2 * score).square().sum(-1).sum()
        loss = loss / (len(clean) * self.n_atoms)
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 10.0)
        self.optimiser.step()

    @torch.no_grad()
    def reverse_step(self, free, graph, time_now):
        """The next free positions and their graph."""
        times = torch.full((len(free),), time_now, device=self.device)
        score = self.model(graph, times)[:, -self.task.n_free :].cpu().numpy()
        spread = SIGMA_MAX - SIGMA_MIN
        g2 = 2 * (SIGMA_MIN + spread * time_now) * spread
        dt = REVERSE_TIMES[0] - REVERSE_TIMES[1]
        free = free + g2 * dt * score + np.sqrt(g2 * dt) * self.random.standard_normal(free.shape)
        free[..., 2] = free[..., 2].clip(self.z_lo, self.z_hi)
        return free, self.graph(free)

    def seconds_of(self, step):
        """Wall-clock time of one call."""
        started = time.perf_counter()
        result = step()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started, result

    def time_training(self, n_steps):
        clean = self.prior(self.task.n_batch)
        times = [self.seconds_of(lambda: self.training_step(clean))[0] for _ in range(N_WARM_UP + n_steps)]
        return times[N_WARM_UP:], self.graph_seconds[-n_steps:]

    def time_reverse(self, n_steps):
        free = self.prior(self.task.n_samples)
        graph, times = self.graph(free), []
        for k in range(N_WARM_UP + n_steps):
            seconds, (free, graph) = self.seconds_of(lambda: self.reverse_step(free, graph, REVERSE_TIMES[k]))
            times.append(seconds)
        return times[N_WARM_UP:]


def milliseconds(seconds):
    return round(1e3 * statistics.median(seconds), 3)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:INDEX (default: cpu)")
    parser.add_argument("--threads", type=int, default=2, help="threads of PyTorch (default: 2)")
    parser.add_argument("--steps", type=int, default=20, help="timed steps of each kind (default: 20)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    # The radial functions reach far into subnormal numbers, which processors multiply slowly: twice the time of a training step.
    torch.set_flush_denormal(True)
    torch.manual_seed(0)

    peer = Peer(TASKS[options.task], options.device)
    training, graph = peer.time_training(options.steps)
    reverse = peer.time_reverse(options.steps)
    device = torch.cuda.get_device_name(peer.device) if peer.device.type == "cuda" else "cpu"
    print(json.dumps({
        "task": options.task,
        "device": device,
        "threads": options.threads,
        "torch": torch.__version__,
        "schnetpack": schnetpack.__version__,
        "matscipy": matscipy.__version__,
        "batch": peer.task.n_batch,
        "samples": peer.task.n_samples,
        "training_step_ms": milliseconds(training),
        "graph_ms": milliseconds(graph),
        "reverse_step_ms": milliseconds(reverse),
    }))


main()
