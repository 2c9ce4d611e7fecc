"""Writes tests/fixtures/tiny.ckpt: a small checkpoint as torch.save and PyTorch Lightning lay it out, made without torch.

Run with Python 3 from the repository root. The archive is a zip of `archive/data.pkl` (protocol 2, storages as persistent
ids) and `archive/data/KEY`. F = 4 features, L = 2 blocks, K = 3 radial functions, score and force head. Parameter k, in
the order of src/model/layout.rs, is ((7919 k) mod 1000 - 500) / 512, exact in f32.
"""

import collections
import io
import pickle
import struct
import sys
import types
import zipfile

F, L, K, CUTOFF = 4, 2, 3, 4.5


class Storage:
    def __init__(self, kind, values):
        self.kind, self.values, self.key = kind, values, None


class Tensor:
    def __init__(self, storage, offset, shape, stride):
        self.arguments = (storage, offset, shape, stride, False, collections.OrderedDict())

    def __reduce__(self):
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.arguments


class Parameter:
    def __init__(self, data):
        self.data = data

    def __reduce__(self):
        return sys.modules["torch._utils"]._rebuild_parameter, (self.data, True, collections.OrderedDict())


def fake(module, name, is_class=False):
    """An importable stand-in, so that the pickler writes the name."""
    package = module.split(".")[0]
    sys.modules.setdefault(package, types.ModuleType(package))
    where = sys.modules.setdefault(module, types.ModuleType(module))
    made = type(name, (), {}) if is_class else lambda *arguments: None
    made.__module__, made.__name__, made.__qualname__ = module, name, name
    setattr(where, name, made)
    return made


fake("torch._utils", "_rebuild_tensor_v2")
fake("torch._utils", "_rebuild_parameter")
KINDS = {kind: fake("torch", f"{kind}Storage", is_class=True) for kind in ("Float", "Double", "Long")}
FORMATS = {"Float": "f", "Double": "d", "Long": "q"}
Settings = fake("agedi.settings", "Settings", is_class=True)
storages = []


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        if value.key is None:
            value.key = str(len(storages))
            storages.append(value)
        return "storage", KINDS[value.kind], value.key, "cpu", len(value.values)


def tensor(values, shape, kind="Float"):
    stride, step = [], 1
    for size in reversed(shape):
        stride.insert(0, step)
        step *= size
    return Tensor(Storage(kind, values), 0, tuple(shape), tuple(stride))


def layout():
    """Names and shapes in the order of src/model/layout.rs, heads under the authors' names."""
    yield "representation.embedding.weight", (100, F)
    yield "representation.filter_net.weight", (3 * F * L, K)
    yield "representation.filter_net.bias", (3 * F * L,)
    for l in range(L):
        yield from linear(f"representation.interactions.{l}.interatomic_context_net.0", F, F)
        yield from linear(f"representation.interactions.{l}.interatomic_context_net.1", 3 * F, F)
    for l in range(L):
        yield f"representation.mixing.{l}.mu_channel_mix.weight", (2 * F, F)
        yield from linear(f"representation.mixing.{l}.intraatomic_context_net.0", F, 2 * F)
        yield from linear(f"representation.mixing.{l}.intraatomic_context_net.1", 3 * F, F)
    for head, scalars in enumerate((F + 2, F)):
        vectors = F
        for b in range(3):
            scalars_out, vectors_out = (1, 1) if b == 2 else (max(1, scalars // 2), max(1, vectors // 2))
            yield f"heads.{head}.net.{b}.mix_vectors.weight", (2 * vectors_out, vectors)
            yield from linear(f"heads.{head}.net.{b}.scalar_net.0", scalars, scalars + vectors_out)
            yield from linear(f"heads.{head}.net.{b}.scalar_net.1", scalars_out + vectors_out, scalars)
            scalars, vectors = scalars_out, vectors_out


def linear(name, out, inputs):
    yield f"{name}.weight", (out, inputs)
    yield f"{name}.bias", (out,)


def single(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


state, n = collections.OrderedDict(), 0
spacing = single(CUTOFF / (K - 1))
state["score_model.representation.cutoff_fn.cutoff"] = tensor([CUTOFF], (1,))
state["score_model.representation.radial_basis.widths"] = tensor([spacing + 0.125] * K, (K,))
state["score_model.representation.radial_basis.offsets"] = tensor([k * spacing for k in range(K)], (K,))
for name, shape in layout():
    size = shape[0] * (shape[1] if len(shape) == 2 else 1)
    values = [((7919 * k) % 1000 - 500) / 512 for k in range(n, n + size)]
    n += size
    if name.endswith("interactions.0.interatomic_context_net.1.weight"):
        # transposed, behind four other elements of its storage
        columns = [values[row * F + column] for column in range(F) for row in range(3 * F)]
        state["score_model." + name] = Tensor(Storage("Float", [9.0] * 4 + columns), 4, shape, (1, 3 * F))
    elif name.endswith("filter_net.weight"):
        state["score_model." + name] = tensor(values, shape, "Double")
    elif name.endswith("filter_net.bias"):
        state["score_model." + name] = Parameter(tensor(values, shape))
    else:
        state["score_model." + name] = tensor(values, shape)
state._metadata = {"": {"version": 1}}

moments = [0.0] * (100 * F)
for number in (29, 78):
    moments[number * F + 1] = 1e-9
settings = Settings()
settings.diffusion = {"kind": "VE", "sigma_min": 0.02, "sigma_max": 2}
checkpoint = {
    "epoch": 7,
    "global_step": 2**40,
    "state_dict": state,
    "optimizer_states": [
        {
            "state": {
                0: {
                    "step": tensor([3.0], ()),
                    "exp_avg": tensor([0.0] * (100 * F), (100, F)),
                    "exp_avg_sq": tensor(moments, (100, F)),
                }
            },
            "param_groups": [{"lr": 1e-4, "betas": (0.9, 0.999), "fused": None, "params": [0]}],
        }
    ],
    "hyper_parameters": {"settings": settings, "loops": [{1, 2}, 10**30, b"bytes", True]},
    "counts": tensor([1, 2, 3], (3,), "Long"),
}

buffer = io.BytesIO()
Pickler(buffer, protocol=2).dump(checkpoint)
with zipfile.ZipFile("tests/fixtures/tiny.ckpt", "w") as archive:
    files = {"data.pkl": buffer.getvalue(), "byteorder": b"little", "version": b"3\n"}
    for storage in storages:
        packed = struct.pack(f"<{len(storage.values)}{FORMATS[storage.kind]}", *storage.values)
        files[f"data/{storage.key}"] = packed
    for name, content in files.items():
        archive.writestr(zipfile.ZipInfo(f"archive/{name}", (1980, 1, 1, 0, 0, 0)), content)
