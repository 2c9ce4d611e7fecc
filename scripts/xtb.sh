#!/usr/bin/env bash
# Searches with xTB, a quantum chemical method: water, Ti2O4 from noise and from placed atoms, and two CO molecules on Pt(111).
# For docs/results/external.md.
#
#     scripts/xtb.sh PYTHON FOLDER
#
# PYTHON has tblite and ase (pip install tblite ase); FOLDER is new and gets the runs. target/release/godiff must be built.
set -euo pipefail
[ $# -eq 2 ] || { sed -n '2,7s/^# \?//p' "$0" >&2; exit 2; }
python="$(command -v "$1")"
godiff="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/target/release/godiff"
mkdir "$2"
cd "$2"
export OMP_NUM_THREADS=1

# config SYSTEM FIRST_SAMPLES METHOD
config() {
    cat <<END
[system]
$1

[potential]
kind = "ase"
calculator = "tblite.ase:TBLite"
arguments = { method = "$3", verbosity = 0 }
python = "$python"

[search]
iterations = 8
samples_per_iteration = 16
buffer = 16
kt_initial_ev = 2.0
kt_final_ev = 0.05
first_samples = "$2"

[training]
steps_per_iteration = 300
batch = 8
learning_rate = 4e-4

[guidance]

[proposals]
relax_steps = 100
hop_share = 0.75
END
}

# search NAME SYSTEM FIRST_SAMPLES [METHOD]
search() {
    config "$2" "$3" "${4:-GFN2-xTB}" >"$1.toml"
    echo "== $1"
    "$godiff" search "$1.toml" --out "$1" --threads 1 --quiet
    "$godiff" inspect "$1" | grep -A 1 '^ok'
    "$godiff" minima "$1" --relax --lowest 3 -o "$1.xyz"
    "$python" - "$1.xyz" <<'END'
import sys
from ase.io import read

atoms = read(sys.argv[1], 0)
pairs = [(i, j) for i in range(len(atoms)) for j in range(i) if "O" in atoms.symbols[[i, j]]]
lengths = [atoms.get_distance(i, j, mic=True) for i, j in pairs]
print("distances to O / Å:", *(f"{length:.3f}" for length in sorted(lengths)[:4]))
END
}

search water 'free = "OH2"' placed
search ti2o4-noise 'free = "Ti2O4"' sampled
search ti2o4-placed 'free = "Ti2O4"' placed

"$python" - <<'END'
from ase import Atoms
from ase.build import fcc111
from ase.io import write

slab = fcc111("Pt", size=(3, 3, 2), a=3.97, vacuum=8.0)
slab.pbc = True
slab.info.clear()
write("pt.xyz", slab)
write("co.xyz", Atoms("CO", [[0, 0, 0], [0, 0, 1.15]]))
END
search co-on-pt 'template = "pt.xyz"
confinement = { above_template_angstrom = [1.0, 5.0] }
keep_bonded = true

[[fragments]]
file = "co.xyz"
count = 2' placed GFN1-xTB
