//! Cards as the command line sees them: listed, or refused with the reason. A stand-in for libcuda.so plays the driver
//! (tests/fixtures/stand_ins), so that this needs no card and a real one does not matter.

#![cfg(feature = "cuda")]

#[path = "common/stand_in.rs"]
mod stand_in;

use godiff::gpu::kernels::nvrtc_version;
use stand_in::{compile, library_path};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

/// `godiff` with the driver that is in `driver` and the stand-in's `settings`.
fn godiff(driver: &Path, settings: &[(&str, &str)], arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_godiff"))
        .current_dir(driver)
        .args(arguments)
        .env("LD_LIBRARY_PATH", library_path(driver))
        .envs(settings.iter().copied())
        .output()
        .unwrap()
}

/// What `godiff devices` says, from the third line on: the first two are the CPU's.
fn listed(driver: &Path, settings: &[(&str, &str)]) -> String {
    let output = godiff(driver, settings, &["devices"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text.lines().skip(2).collect::<Vec<_>>().join("\n")
}

/// What a search on `device` is refused with.
fn refused(driver: &Path, settings: &[(&str, &str)], device: &str) -> String {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/smoke.toml");
    let arguments = ["search", config.to_str().unwrap(), "--device", device, "--out", "run"];
    let output = godiff(driver, settings, &arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.starts_with("godiff: ") && said.lines().count() == 1, "{said}");
    assert!(!driver.join("run").exists(), "a refused search leaves nothing behind");
    said
}

/// Whether there are kernels; else that this is said, whatever the machine has.
fn built_with_nvrtc(driver: &Path) -> bool {
    if nvrtc_version().is_some() {
        return true;
    }
    let sentence = "godiff was built without NVRTC and has no CUDA kernels; install it (pip install nvidia-cuda-nvrtc-cu12) and \
                    build godiff again";
    assert_eq!(listed(driver, &[]), format!("cuda     none: {sentence}"));
    assert!(refused(driver, &[], "cuda").contains(&format!("device 'cuda': {sentence}, or use --device cpu")));
    false
}

#[test]
fn cards_are_listed() {
    let driver = compile("cuda.c", "libcuda.so");
    if !built_with_nvrtc(driver.path()) {
        return;
    }
    let memory = ("FAKE_CUDA_MEMORY", "25769803776");
    assert_eq!(
        listed(driver.path(), &[("FAKE_CUDA_CARDS", "2"), memory]),
        "cuda:0   f32, Fake Card 0, compute capability 8.6, 24.0 GiB, 82 multiprocessors\n\
         cuda:1   f32, Fake Card 1, compute capability 8.6, 24.0 GiB, 82 multiprocessors"
    );
    assert_eq!(
        listed(driver.path(), &[("FAKE_CUDA_CAPABILITY", "75"), memory]),
        "cuda:0   not usable, Fake Card 0, compute capability 7.5, 24.0 GiB, 82 multiprocessors: Fake Card 0 has compute \
         capability 7.5; take a card with 8.0 or newer"
    );
}

#[test]
fn a_driver_without_a_usable_card_is_refused() {
    let driver = compile("cuda.c", "libcuda.so");
    if !built_with_nvrtc(driver.path()) {
        return;
    }
    let cases = [
        (
            ("FAKE_CUDA_INIT", "100"),
            "the NVIDIA driver finds no GPU (is one built in, and does CUDA_VISIBLE_DEVICES show it?)",
        ),
        (("FAKE_CUDA_CARDS", "0"), "the NVIDIA driver finds no GPU"),
        (("FAKE_CUDA_INIT", "34"), "libcuda.so is the CUDA toolkit's stub, not a driver; install the NVIDIA driver"),
        (("FAKE_CUDA_INIT", "803"), "the parts of the NVIDIA driver differ in version; restart the machine"),
        (("FAKE_CUDA_INIT", "12"), "the NVIDIA driver does not start (CUDA error 12); see nvidia-smi"),
        // A code of a later driver.
        (("FAKE_CUDA_INIT", "4242"), "the NVIDIA driver does not start (CUDA error 4242); see nvidia-smi"),
        (("FAKE_CUDA_VERSION", "11080"), "the NVIDIA driver supports CUDA 11.8 and godiff needs 1"),
    ];
    for (setting, sentence) in cases {
        let said = refused(driver.path(), &[setting], "cuda");
        assert!(said.starts_with(&format!("godiff: device 'cuda': {sentence}")), "{setting:?}: {said}");
        assert!(said.ends_with(", or use --device cpu\n"), "{said}");
        let listed = listed(driver.path(), &[setting]);
        assert!(listed.starts_with(&format!("cuda     none: {sentence}")), "{setting:?}: {listed}");
    }

    let said = refused(driver.path(), &[("FAKE_CUDA_CAPABILITY", "61")], "cuda:0");
    assert!(
        said.contains("device 'cuda:0': Fake Card 0 has compute capability 6.1; take a card with 8.0 or newer"),
        "{said}"
    );
    let said = refused(driver.path(), &[("FAKE_CUDA_RETAIN", "46")], "cuda");
    assert!(
        said.contains("device 'cuda:0': another program has the card to itself (its compute mode is exclusive)"),
        "{said}"
    );
    let said = refused(driver.path(), &[], "cuda:1");
    assert!(said.contains("device 'cuda:1': this machine has one GPU; use cuda:0, or use --device cpu"), "{said}");
    let said = refused(driver.path(), &[("FAKE_CUDA_CARDS", "3")], "cuda:7");
    assert!(said.contains("this machine has 3 GPUs; use cuda:0 to cuda:2"), "{said}");
    let said = refused(driver.path(), &[], "cuda:first");
    assert!(said.contains("device 'cuda:first': after cuda: the number of a card is expected, as in cuda:0"), "{said}");
}

#[test]
fn a_machine_without_a_driver_is_told_so() {
    // Files that are no libraries hide a driver that this machine may have.
    let place = TempDir::new().unwrap();
    for name in ["libcuda.so", "libcuda.so.1"] {
        fs::write(place.path().join(name), "not a library").unwrap();
    }
    if !built_with_nvrtc(place.path()) {
        return;
    }
    let sentence = "there is no NVIDIA driver (libcuda.so.1 was not found); install it";
    assert_eq!(listed(place.path(), &[]), format!("cuda     none: {sentence}"));
    let said = refused(place.path(), &[], "cuda");
    assert_eq!(said, format!("godiff: device 'cuda': {sentence}, or use --device cpu\n"));
}
