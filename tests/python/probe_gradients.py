"""Replaces the gradients of a painn_*.safetensors file by probes of them: probe_gradients.py FULL SMALL.gz

A gradient `grad.X` of n entries becomes `probe.X`: its largest magnitude, then eight sums of all entries with signs. The sign of entry
k in sum j is bit j of SplitMix64 after k steps, so an error in any entry changes all eight sums.
"""

import gzip
import json
import sys

import numpy as np

MASK = 2**64 - 1


def splitmix(k):
    z = (k + 1) * 0x9E3779B97F4A7C15 & MASK
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
    return z ^ z >> 31


def probe(values):
    words = [splitmix(k) for k in range(values.size)]
    sums = [sum(-x if word >> j & 1 else x for x, word in zip(values, words)) for j in range(8)]
    return np.array([np.abs(values).max(), *sums])


full, small = sys.argv[1:]
with open(full, "rb") as file:
    length = int.from_bytes(file.read(8), "little")
    header = json.loads(file.read(length))
    data = file.read()
out, blobs, at = {"__metadata__": header.pop("__metadata__")}, [], 0
for name, entry in header.items():
    blob, kind, shape = data[slice(*entry["data_offsets"])], entry["dtype"], entry["shape"]
    if name.startswith("grad."):
        values = np.frombuffer(blob, {"F64": "<f8", "F32": "<f4"}[kind]).astype(float)
        name, kind, shape = "probe." + name.removeprefix("grad."), "F64", [9]
        blob = probe(values).tobytes()
    out[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, at + len(blob)]}
    blobs.append(blob)
    at += len(blob)
text = json.dumps(out).encode()
text += b" " * (-len(text) % 8)
with open(small, "wb") as file:
    file.write(gzip.compress(len(text).to_bytes(8, "little") + text + b"".join(blobs), 9, mtime=0))
