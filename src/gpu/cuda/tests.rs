//! The backend on a stand-in for libcuda.so that keeps "device" memory on the host (tests/fixtures/stand_ins). The tests run in
//! their own process, since a process loads a library once.

use super::card::{Card, Context};
use super::{index_of, properties, start_driver, usable, wrong_index};
use crate::gpu::kernels::{Image, Kernel, Module, Target};
use crate::gpu::{Arguments, Device, Entry, Pointer, Properties, Shape, Stream};
use std::process::Command;
use std::sync::Arc;

#[path = "../../../tests/common/stand_in.rs"]
mod stand_in;

/// Set in the process that has the stand-in.
const MARK: &str = "GODIFF_ON_FAKE_CUDA";

/// Runs the tests of `on_the_stand_in` that `arguments` choose; the stand-in ends the process with an error if anything is left on
/// it.
fn run_on_the_stand_in(arguments: &[&str], n_tests: usize) {
    let folder = stand_in::compile("cuda.c", "libcuda.so");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--test-threads=1"])
        .args(arguments)
        .env("LD_LIBRARY_PATH", stand_in::library_path(folder.path()))
        .env(MARK, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains(&format!("{n_tests} passed")), "{said}");
}

#[test]
fn the_backend_works_on_a_stand_in() {
    run_on_the_stand_in(&["cuda::tests::on_the_stand_in", "--skip", "a_fault"], 7);
}

/// This test has its own process, since nothing works afterwards.
#[test]
fn a_fault_ends_with_a_sentence_on_a_stand_in() {
    run_on_the_stand_in(&["cuda::tests::on_the_stand_in::a_fault"], 1);
}

mod on_the_stand_in {
    use super::*;

    struct Scale {
        x: Pointer<f32>,
        n: u32,
        factor: f32,
    }
    impl Arguments for Scale {
        const BYTES: usize = 16;

        fn put(&self, to: &mut [u8]) {
            self.x.put(&mut to[..8]);
            self.n.put(&mut to[8..12]);
            self.factor.put(&mut to[12..]);
        }
    }

    const SCALE: Entry<Scale> = Entry::new("scale", 256);
    const FAULT: Entry<u64> = Entry::new("fault", 256);
    const UNKNOWN: Entry<u64> = Entry::new("unknown", 256);
    /// The kernel takes a larger argument than this.
    const SHORT: Entry<u64> = Entry::new("scale", 256);

    static MODULES: [Module; 1] = [Module {
        name: "test",
        images: &[Image { target: Target::Ptx(80), bytes: b"scale fault " }],
        kernels: &[
            Kernel { name: "scale", argument_bytes: 16, max_threads: 256, assembled: &[] },
            Kernel { name: "fault", argument_bytes: 8, max_threads: 256, assembled: &[] },
        ],
    }];

    const SHAPE: Shape = Shape { blocks: [1, 1], threads: 32, shared_bytes: 0 };

    /// The first card, or `None` where there is no stand-in.
    fn device() -> Option<Device> {
        std::env::var_os(MARK)?;
        start_driver(0).unwrap();
        let card = Card::open(Context::retain(0).unwrap(), properties(0).unwrap(), &MODULES).unwrap();
        Some(Device(Arc::new(card)))
    }

    fn stream() -> Option<Stream> {
        Some(device()?.stream().unwrap())
    }

    fn said<T>(result: crate::Result<T>) -> String {
        let error = result.err().expect("refused");
        assert_eq!(error.exit_code(), 1, "{error}");
        error.to_string()
    }

    #[test]
    #[ignore = "needs the stand-in"]
    fn properties_are_those_of_the_card() {
        let Some(device) = device() else { return };
        let expected = Properties {
            name: "Fake Card 0".to_owned(),
            capability: (8, 6),
            multiprocessors: 82,
            shared_memory_per_block: 101_376,
            memory: 1 << 20,
            clock: 1.695e9,
            // An RTX 3090: 936 GB/s.
            bandwidth: 9.751e9 * 2.0 * 48.0,
        };
        assert_eq!(device.properties(), &expected);
        assert_eq!(device.memory().unwrap(), (1 << 20, 1 << 20));
    }

    #[test]
    #[ignore = "needs the stand-in"]
    fn what_is_written_is_read() {
        let Some(stream) = stream() else { return };
        let buffer = stream.upload(&[1.0_f32, 2.0, 3.0, 4.0]).unwrap();
        {
            let short_lived = vec![7.0_f32, 8.0];
            stream.write(&buffer, 1, &short_lived).unwrap();
        }
        assert_eq!(stream.read(&buffer).unwrap(), [1.0, 7.0, 8.0, 4.0]);
        assert_eq!(stream.read_part(&buffer, 2, 2).unwrap(), [8.0, 4.0]);
        let other = stream.zeros::<f32>(6).unwrap();
        stream.copy(&buffer, &other).unwrap();
        assert_eq!(stream.read(&other).unwrap(), [1.0, 7.0, 8.0, 4.0, 0.0, 0.0]);
        stream.clear(&other).unwrap();
        assert_eq!(stream.read(&other).unwrap(), [0.0; 6]);
        let nothing = stream.upload::<f32>(&[]).unwrap();
        assert_eq!(stream.read(&nothing).unwrap(), [0.0; 0]);
    }

    #[test]
    #[ignore = "needs the stand-in"]
    fn kernels_get_their_arguments() {
        let Some(stream) = stream() else { return };
        let x = stream.upload(&[1.0_f32, 2.0, 3.0]).unwrap();
        stream.launch(SCALE, SHAPE, &Scale { x: x.pointer(), n: 2, factor: 10.0 }).unwrap();
        // More than the 48 KiB that a kernel may use without permission.
        let large = Shape { shared_bytes: 100_000, ..SHAPE };
        stream.launch(SCALE, large, &Scale { x: x.pointer().plus(2), n: 1, factor: -1.0 }).unwrap();
        assert_eq!(stream.read(&x).unwrap(), [10.0, 20.0, -3.0]);
        let no_blocks = Shape { blocks: [0, 1], ..SHAPE };
        stream.launch(SCALE, no_blocks, &Scale { x: x.pointer(), n: 3, factor: 0.0 }).unwrap();
        assert_eq!(stream.read(&x).unwrap(), [10.0, 20.0, -3.0]);
    }

    #[test]
    #[ignore = "needs the stand-in"]
    fn wrong_launches_are_refused() {
        let Some(stream) = stream() else { return };
        let scale = Scale { x: Pointer::NULL, n: 0, factor: 1.0 };
        let launch = |shape| said(stream.launch(SCALE, shape, &scale));
        assert!(launch(Shape { threads: 257, ..SHAPE }).contains("'scale': 257 threads a block, it takes 1 to 256"));
        assert!(launch(Shape { threads: 0, ..SHAPE }).contains("0 threads a block"));
        let shared = launch(Shape { shared_bytes: 101_000, ..SHAPE });
        assert!(shared.contains("101000 bytes of shared memory, a block has 100352"), "{shared}");
        assert!(said(stream.launch(UNKNOWN, SHAPE, &0)).contains("there is no kernel 'unknown'"));
        assert!(said(stream.launch(SHORT, SHAPE, &0)).contains("8 bytes of arguments, it takes 16"));
    }

    #[test]
    #[ignore = "needs the stand-in"]
    fn captured_work_runs_when_it_is_replayed() {
        let Some(stream) = stream() else { return };
        let x = stream.upload(&[1.0_f32]).unwrap();
        let y = stream.zeros::<f32>(1).unwrap();
        let graph = stream
            .capture(|| {
                stream.launch(SCALE, SHAPE, &Scale { x: x.pointer(), n: 1, factor: 2.0 })?;
                stream.copy(&x, &y)
            })
            .unwrap();
        assert_eq!(graph.n_nodes(), 2);
        assert_eq!(stream.read(&x).unwrap(), [1.0], "captured, not run");
        for _ in 0..3 {
            stream.replay(&graph).unwrap();
        }
        stream.synchronize().unwrap();
        assert_eq!((stream.read(&x).unwrap(), stream.read(&y).unwrap()), (vec![8.0], vec![8.0]));
        assert_eq!(stream.time(|| stream.replay(&graph)).unwrap(), 3.0, "two nodes and the mark behind them");
        assert_eq!(stream.time(|| Ok(())).unwrap(), 1.0);

        let other = stream.device().stream().unwrap();
        other.replay(&graph).unwrap();
        assert_eq!(other.read(&x).unwrap(), [32.0], "any queue of the card may replay");
    }

    #[test]
    #[ignore = "needs the stand-in"]
    fn what_cannot_be_captured_is_refused() {
        let Some(stream) = stream() else { return };
        let x = stream.upload(&[1.0_f32]).unwrap();
        let captured = |work: &dyn Fn() -> crate::Result<()>| said(stream.capture(work));
        assert!(captured(&|| stream.write(&x, 0, &[2.0])).contains("write within a capture"));
        assert!(captured(&|| stream.read(&x).map(drop)).contains("read within a capture"));
        assert!(captured(&|| stream.synchronize()).contains("synchronisation within a capture"));
        let allocated = captured(&|| stream.zeros::<f32>(1).map(drop));
        assert!(allocated.contains("refused cuMemAlloc (CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED)"), "{allocated}");
        assert_eq!(stream.read(&x).unwrap(), [1.0], "the queue goes on");
    }

    #[test]
    #[ignore = "needs the stand-in"]
    fn missing_memory_is_counted() {
        let Some(stream) = stream() else { return };
        let held = stream.zeros::<u8>(1 << 19).unwrap();
        assert_eq!(
            said(stream.zeros::<u8>(1 << 20).map(drop)),
            "the GPU has not enough memory: 1.0 MiB more are needed, 512.0 KiB of 1.0 MiB are free; lower training.batch or \
             search.samples_per_iteration, or end other programs on the GPU; see nvidia-smi"
        );
        drop(held);
        stream.zeros::<u8>(1 << 20).unwrap();
    }

    #[test]
    #[ignore = "needs the stand-in"]
    fn a_fault_names_the_kernel_and_ends_all() {
        let Some(stream) = stream() else { return };
        let x = stream.upload(&[1.0_f32]).unwrap();
        stream.launch(SCALE, SHAPE, &Scale { x: x.pointer(), n: 1, factor: 2.0 }).unwrap();
        stream.launch(FAULT, SHAPE, &0).unwrap();
        let fault = said(stream.synchronize());
        assert!(
            fault.starts_with(
                "the GPU stopped in kernel 'fault' or what was queued before it (CUDA_ERROR_ILLEGAL_ADDRESS): the last \
                 checkpoint of a search is kept, and --resume continues from it"
            ),
            "{fault}"
        );
        for again in [said(stream.read(&x)), said(stream.copy(&x, &x)), said(stream.zeros::<f32>(1).map(drop))] {
            assert!(again.starts_with("the GPU stopped in"), "{again}");
        }
    }
}

#[test]
fn the_index_follows_the_colon() {
    for (name, index) in [("cuda", 0), ("cuda:0", 0), ("cuda:1", 1), ("cuda:12", 12)] {
        assert_eq!(index_of(name).unwrap(), index, "{name}");
    }
    for name in
        ["cuda:", "cuda:x", "cuda:-1", "cuda:+1", "cuda: 1", "cuda:1,2", "cuda1", "cuda:99999999999999999999999"]
    {
        let error = index_of(name).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let sentence = format!("device '{name}': after cuda: the number of a card is expected, as in cuda:0");
        assert_eq!(error.to_string(), sentence);
    }
    assert_eq!(wrong_index(1), "this machine has one GPU; use cuda:0");
    assert_eq!(wrong_index(4), "this machine has 4 GPUs; use cuda:0 to cuda:3");
}

#[test]
fn old_cards_are_refused() {
    let card = |capability| Properties {
        name: "GTX".to_owned(),
        capability,
        multiprocessors: 1,
        shared_memory_per_block: 0,
        memory: 0,
        clock: 0.0,
        bandwidth: 0.0,
    };
    for capability in [(8, 0), (8, 6), (9, 0), (12, 0)] {
        assert_eq!(usable(&card(capability)), Ok(()));
    }
    let sentence = "GTX has compute capability 7.5; take a card with 8.0 or newer";
    assert_eq!(usable(&card((7, 5))), Err(sentence.to_owned()));
}
