#!/usr/bin/env bash
# Everything that needs a GPU, in one go: parity tests, the time of every kernel, the comparison with PyTorch and SchNetPack on the
# same card, and two whole searches. Leaves one JSON file named after the card.
#
#   scripts/gpu-check.sh                  builds, then runs, on a machine that has Rust, NVRTC and a card
#   scripts/gpu-check.sh pack FOLDER      builds and gathers all that a run needs, on a machine without a card
#   scripts/gpu-check.sh run FOLDER OUT   runs what was packed, on a machine with a card; needs neither Rust nor a network
#
# The peer runs if the interpreter in GODIFF_PYTHON (default: python3) has torch, schnetpack, ase and matscipy, and is left out, which
# the JSON says, if not. GODIFF_REFERENCE_DIR, if set while packing, adds the large reference files to the parity tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tests=(cuda_network cuda_engine cuda_geometry cuda_guidance cuda_emt cuda_mixed)

fail() {
    printf '%s\n' "$1" >&2
    exit 1
}

pack() {
    local folder="$1" name executable
    rm -rf "$folder/tests" "$folder/reference" "$folder/configs" "$folder/docs" "$folder/benches/peer"
    mkdir -p "$folder/tests" "$folder/reference"
    export GODIFF_REQUIRE_CUDA=1
    cargo build --release --locked --features emulator
    strip -o "$folder/godiff" target/release/godiff
    for name in "${tests[@]}"; do
        [ -f "tests/$name.rs" ] || continue
        executable="$(cargo test --release --locked --features emulator --test "$name" --no-run --message-format=json |
            sed -n "s|.*\"executable\":\"\([^\"]*/$name-[^\"]*\)\".*|\1|p")"
        [ -n "$executable" ] || fail "cargo named no executable of the test $name"
        strip -o "$folder/tests/$name" "$executable"
    done
    cp -r configs "$folder/"
    mkdir -p "$folder/docs/results"
    cp -r docs/results/configs "$folder/docs/results/"
    mkdir -p "$folder/benches"
    cp -r benches/peer "$folder/benches/"
    if [ -n "${GODIFF_REFERENCE_DIR:-}" ]; then
        cp "$GODIFF_REFERENCE_DIR"/painn_*.safetensors "$folder/reference/"
    fi
    cp -r tests/fixtures/. "$folder/reference/"
    echo "packed $folder: $(du -sh "$folder" | cut -f1)"
}

# The file of a configuration, with sizes as the peer has them.
configuration() {
    find configs docs/results/configs -maxdepth 1 -name "$1.toml"
}

# Runs `command` with a log; prints "passed" or "failed".
judged() {
    local log="$1"
    shift
    if "$@" >"$log" 2>&1; then echo passed; else echo failed; fi
}

run() {
    local folder out name
    folder="$(cd "$1" && pwd)"
    mkdir -p "$2"
    out="$(cd "$2" && pwd)"
    local python="${GODIFF_PYTHON:-python3}"
    "$folder/godiff" devices | tee "$out/devices.txt"
    grep -q '^cuda:0 ' "$out/devices.txt" || fail 'there is no card here that godiff can use; see above'

    # Tests find their files where they were built, or here.
    export GODIFF_TEST_DEVICE=cuda GODIFF_REFERENCE_DIR="$folder/reference"
    : >"$out/parity.txt"
    for name in "${tests[@]}"; do
        [ -x "$folder/tests/$name" ] || continue
        (cd "$folder" && echo "$name $(judged "$out/$name.log" "tests/$name" --test-threads=1)") | tee -a "$out/parity.txt"
    done

    cd "$folder"
    for name in pt-adatom-paper pt-heptamer; do
        ./godiff benchmark --kernels "$(configuration "$name")" --device cuda -o "$out/kernels-$name.json" | tee "$out/kernels-$name.txt"
    done
    for task in adatom heptamer; do
        if ! "$python" benches/peer/schnetpack_step.py "$task" --device cuda >"$out/peer-$task.json" 2>"$out/peer-$task.log"; then
            echo null >"$out/peer-$task.json"
            echo "the peer did not run on $task: $(tail -1 "$out/peer-$task.log")"
        fi
    done
    for name in pt-adatom-paper pt-heptamer; do
        rm -rf "$out/run-$name"
        ./godiff search "$(configuration "$name")" --device cuda --seed 0 --quiet --out "$out/run-$name" || echo "search $name failed"
    done
    "$python" - "$out" <<'PYTHON'
import json, re, sys
from pathlib import Path

out = Path(sys.argv[1])


def read(path):
    return json.loads(path.read_text()) if path.exists() and path.read_text().strip() else None


result = {
    "devices": (out / "devices.txt").read_text().splitlines(),
    "parity": dict(line.split() for line in (out / "parity.txt").read_text().splitlines()),
    "tasks": {},
}
card = next(line for line in result["devices"] if line.startswith("cuda:0"))
for task, name in (("adatom", "pt-adatom-paper"), ("heptamer", "pt-heptamer")):
    kernels, peer = read(out / f"kernels-{name}.json"), read(out / f"peer-{task}.json")
    summary = read(out / f"run-{name}" / "summary.json")
    entry = {"kernels": kernels, "peer": peer, "search": summary}
    if kernels and peer:
        ours = {step["phase"]: step["milliseconds"] for step in kernels["steps"]}
        entry["times_faster"] = {
            phase: peer[key] / ours[phase]
            for phase, key in (("training step", "training_step_ms"), ("reverse step", "reverse_step_ms"))
            if key in peer
        }
    result["tasks"][task] = entry
label = re.sub(r"[^A-Za-z0-9]+", "-", card.split("f32,")[-1].split(",")[0]).strip("-").lower()
path = out / f"{label}.json"
path.write_text(json.dumps(result, indent=1) + "\n")
print(path)
for task, entry in result["tasks"].items():
    for phase, ratio in entry.get("times_faster", {}).items():
        print(f"{task}, {phase}: {ratio:.1f} times faster than PyTorch with SchNetPack")
PYTHON
}

case "${1:-}" in
    '')
        folder=target/gpu-check
        pack "$folder"
        run "$folder" "$folder/results"
        echo "copy $folder/results/*.json into docs/results/gpu/ and commit it"
        ;;
    pack) pack "${2:?name the folder to pack into}" ;;
    run) run "${2:?name the packed folder}" "${3:?name the folder for the results}" ;;
    *) fail "usage: scripts/gpu-check.sh [pack FOLDER | run FOLDER OUT]" ;;
esac
