//! The emulator finds what is wrong with a kernel, and nothing in kernels that are right. The kernels are in tests/planted/; what can be
//! found depends on how they were compiled (`GODIFF_EMULATOR_SANITIZE`, docs/developing.md).
#![cfg(feature = "emulator")]

use bytemuck::{Pod, Zeroable};
use godiff::Error;
use godiff::gpu::{Arguments, Buffer, Device, Entry, Pointer, Shape, Stream};
use std::path::Path;
use std::process::Command;

/// Orders of threads in which a correct kernel gives the same.
const ORDERS: [&str; 3] = ["emulator:order=forward", "emulator:order=reverse", "emulator:order=random"];

/// How the kernels were compiled.
const CHECKS_ACCESSES: bool = matches!(env!("GODIFF_EMULATOR_SANITIZE").as_bytes(), b"races");
const ADDRESS_SANITIZER: bool = matches!(env!("GODIFF_EMULATOR_SANITIZE").as_bytes(), b"address");

/// The kernel that takes a structure.
trait Planted: Arguments + Sized {
    const KERNEL: Entry<Self>;
}

/// Launches the kernel that takes `arguments`.
trait Run {
    fn run<K: Planted>(&self, shape: Shape, arguments: &K) -> godiff::Result<()>;
}

impl Run for Stream {
    fn run<K: Planted>(&self, shape: Shape, arguments: &K) -> godiff::Result<()> {
        self.launch(K::KERNEL, shape, arguments)
    }
}

/// Declares the Rust twin of a kernel's structure.
macro_rules! arguments {
    ($name:ident, $kernel:literal, { $($field:ident: $type:ty),* $(,)? }) => {
        #[repr(C)]
        #[derive(Clone, Copy, Pod, Zeroable)]
        struct $name { $($field: $type),* }
        impl Arguments for $name {
            const BYTES: usize = size_of::<$name>();

            fn put(&self, to: &mut [u8]) {
                to.copy_from_slice(bytemuck::bytes_of(self));
            }
        }
        impl Planted for $name { const KERNEL: Entry<Self> = Entry::new($kernel, 1024); }
    };
}

arguments!(Sum, "planted_sum", { x: Pointer<f32>, sums: Pointer<f32>, n: u32, unused: u32 });
arguments!(Scan, "planted_scan", { x: Pointer<u32>, sums: Pointer<u32>, n: u32, unused: u32 });
arguments!(Lanes, "planted_lanes", { counts: Pointer<u32>, wide: Pointer<u64>, n: u32, unused: u32 });
arguments!(Ticket, "planted_last_block", { x: Pointer<f32>, partial: Pointer<f32>, total: Pointer<f32>, ticket: Pointer<u32> });
arguments!(Unknown, "planted_nowhere", { x: Pointer<f32> });
arguments!(Long, "planted_neighbour", { x: Pointer<f32>, n: u32, which: u32, more: u64 });

/// The kernels that take some numbers.
trait OfNumbers: Planted {
    fn new(x: Pointer<f32>, n: u32, which: u32) -> Self;
}

macro_rules! of_numbers {
    ($($name:ident = $kernel:literal),* $(,)?) => {
        $(
            arguments!($name, $kernel, { x: Pointer<f32>, n: u32, which: u32 });
            impl OfNumbers for $name {
                fn new(x: Pointer<f32>, n: u32, which: u32) -> Self {
                    $name { x, n, which }
                }
            }
        )*
    };
}

of_numbers!(
    Neighbour = "planted_neighbour",
    WarpTree = "planted_warp_tree",
    Barriers = "planted_barriers",
    Shuffles = "planted_shuffles",
    MissingBarrier = "planted_missing_barrier",
    MissingSyncwarp = "planted_missing_syncwarp",
    BlockRace = "planted_block_race",
    SharedOverrun = "planted_shared_overrun",
    GlobalOverrun = "planted_global_overrun",
    GlobalOverread = "planted_global_overread",
    WildPointer = "planted_wild_pointer",
    Misaligned = "planted_misaligned",
    DivergentBarrier = "planted_divergent_barrier",
    DivergentShuffle = "planted_divergent_shuffle",
    UninitialisedShared = "planted_uninitialised_shared",
    Spin = "planted_spin",
    Divide = "planted_divide",
);

fn stream(device: &str) -> Stream {
    Device::open(device).and_then(|device| device.stream()).unwrap()
}

fn shape(blocks: u32, threads: u32, shared_bytes: u32) -> Shape {
    Shape { blocks: [blocks, 1], threads, shared_bytes }
}

fn sentence<T>(result: godiff::Result<T>) -> String {
    match result {
        Err(Error::Failed(sentence)) => sentence,
        Err(other) => panic!("{other:?} is not Failed"),
        Ok(_) => panic!("nothing was found"),
    }
}

/// x after one launch of kernel `K` on the numbers 0 to `n - 1`.
fn launch<K: OfNumbers>(device: &str, shape: Shape, n: u32, which: u32) -> godiff::Result<Vec<f32>> {
    let stream = stream(device);
    let values: Vec<f32> = (0..n).map(|i| i as f32).collect();
    let x = stream.upload(&values)?;
    stream.run(shape, &K::new(x.pointer(), n, which))?;
    stream.synchronize()?;
    stream.read(&x)
}

/// `launch` in the default order, which must fail with a sentence that holds `words`.
fn caught<K: OfNumbers>(shape: Shape, n: u32, which: u32, words: &str) {
    let sentence = sentence(launch::<K>("emulator", shape, n, which));
    assert!(sentence.starts_with(&format!("kernel {}", K::KERNEL.name)) && sentence.contains(words), "{sentence}");
}

/// Where races are judged, every order is refused with `words`; elsewhere the orders give different results.
fn caught_by_order<K: OfNumbers>(shape: Shape, n: u32, words: &str) {
    if CHECKS_ACCESSES {
        for device in ORDERS {
            let sentence = sentence(launch::<K>(device, shape, n, 0));
            assert!(sentence.contains(words), "{device}: {sentence}");
        }
    } else {
        let results = ORDERS.map(|device| launch::<K>(device, shape, n, 0).unwrap());
        assert!(results.iter().any(|result| *result != results[0]), "{results:?}");
    }
}

/// Runs `body` in a process of its own where the address sanitizer, which ends the process, has to say `report`.
fn reported(test: &str, report: &str, body: impl FnOnce()) {
    const CHILD: &str = "GODIFF_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        body();
        return;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains(report), "{text}");
}

// ---- Right kernels ----

#[test]
fn a_sum_over_warps_and_blocks() {
    for device in ORDERS {
        let stream = stream(device);
        let values: Vec<f32> = (0..1000).map(|i| i as f32).collect();
        let x = stream.upload(&values).unwrap();
        let sums = stream.zeros::<f32>(4).unwrap();
        let arguments = Sum { x: x.pointer(), sums: sums.pointer(), n: 1000, unused: 0 };
        stream.run(shape(4, 256, 8 * 4), &arguments).unwrap();
        assert_eq!(stream.read(&sums).unwrap(), [32640.0, 98176.0, 163712.0, 204972.0], "{device}");
    }
}

#[test]
fn a_scan_through_shared_memory() {
    for device in ORDERS {
        let stream = stream(device);
        let x = stream.upload(&vec![3_u32; 300]).unwrap();
        let sums = stream.zeros::<u32>(300).unwrap();
        let arguments = Scan { x: x.pointer(), sums: sums.pointer(), n: 300, unused: 0 };
        stream.run(shape(1, 320, 2 * 320 * 4), &arguments).unwrap();
        assert!(stream.read(&sums).unwrap().iter().zip(1..).all(|(&sum, i)| sum == 3 * i), "{device}");
    }
}

#[test]
fn exchanges_between_threads_and_between_lanes() {
    for device in ORDERS {
        let x = launch::<Neighbour>(device, shape(1, 256, 1024), 256, 0).unwrap();
        assert!(x.iter().enumerate().all(|(i, &value)| value == ((i + 1) % 256) as f32), "{device}");
        assert_eq!(launch::<WarpTree>(device, shape(1, 32, 128), 32, 0).unwrap()[0], 496.0, "{device}");
    }
}

#[test]
fn the_last_block_sums_up_in_the_order_of_blocks() {
    for device in ORDERS {
        let stream = stream(device);
        let x = stream.upload(&(0..256).map(|i| i as f32).collect::<Vec<_>>()).unwrap();
        let (partial, total) = (stream.zeros::<f32>(8).unwrap(), stream.zeros::<f32>(1).unwrap());
        let ticket = stream.zeros::<u32>(1).unwrap();
        let arguments =
            Ticket { x: x.pointer(), partial: partial.pointer(), total: total.pointer(), ticket: ticket.pointer() };
        for _ in 0..2 {
            stream.run(shape(8, 32, 33 * 4), &arguments).unwrap();
            assert_eq!(stream.read(&total).unwrap(), [32640.0], "{device}");
        }
    }
}

#[test]
fn votes_shuffles_and_atomics_follow_the_programming_guide() {
    let expected = |i: u32| {
        let (lane, warp) = (i % 32, i / 32);
        let thirds = (0..32).filter(|lane| lane % 3 == 0).map(|lane| 1 << lane).sum::<u32>();
        let or_previous = if lane == 0 { i } else { i - 1 };
        let or_next = if lane == 31 { i } else { i + 1 };
        let or_next_of_eight = if lane % 8 == 7 { i } else { i + 1 };
        let partner = if lane < 8 { i ^ 3 } else { i ^ 1 };
        let fifth = 32 * warp + 5;
        let ninth_of_eight = i / 8 * 8 + 1;
        [
            thirds,
            warp,
            warp,
            fifth,
            or_previous,
            or_next,
            or_next_of_eight,
            ninth_of_eight,
            13,
            1,
            0,
            partner,
            128,
            63,
            u32::MAX,
        ]
    };
    for device in ORDERS {
        let stream = stream(device);
        let counts = stream.zeros::<u32>(16 * 64 + 1).unwrap();
        let wide = stream.zeros::<u64>(64).unwrap();
        stream
            .run(shape(1, 64, 12), &Lanes { counts: counts.pointer(), wide: wide.pointer(), n: 0, unused: 0 })
            .unwrap();
        let counts = stream.read(&counts).unwrap();
        let mut first = 0;
        for (i, found) in (0..64).zip(counts.chunks(16)) {
            assert_eq!(found[..15], expected(i), "thread {i}, {device}");
            first += found[15];
        }
        assert_eq!(first, 1, "one thread is the first, {device}");
        let wide = stream.read(&wide).unwrap();
        assert!(wide.iter().zip(0_u64..).all(|(&found, i)| found == ((i ^ 31) << 32) + 1), "{device}");
    }
}

// ---- Planted bugs ----

#[test]
fn a_missing_barrier() {
    caught_by_order::<MissingBarrier>(shape(1, 256, 1024), 256, "with no order between them");
}

/// The shuffle in its place lets lanes meet, so only a judge of accesses sees it.
#[test]
fn a_missing_barrier_of_a_warp() {
    if !CHECKS_ACCESSES {
        return;
    }
    caught_by_order::<MissingSyncwarp>(shape(1, 32, 128), 32, "with no order between them");
}

#[test]
fn a_race_between_blocks() {
    caught_by_order::<BlockRace>(shape(8, 32, 0), 1, "of block (");
}

#[test]
fn a_shared_memory_overrun() {
    let words = if CHECKS_ACCESSES {
        "writes 4 bytes 0 bytes past the end of its 400 bytes of shared memory"
    } else {
        "past the end of its 400 bytes"
    };
    if ADDRESS_SANITIZER {
        reported("a_shared_memory_overrun", "heap-buffer-overflow", || {
            caught::<SharedOverrun>(shape(1, 128, 400), 1, 0, words)
        });
    } else {
        caught::<SharedOverrun>(shape(1, 128, 400), 1, 0, words);
    }
}

#[test]
fn a_global_overrun() {
    let words = if CHECKS_ACCESSES {
        "writes 4 bytes 0 bytes past the end of an allocation of 80 bytes"
    } else {
        "past the end of an allocation of 80 bytes"
    };
    if ADDRESS_SANITIZER {
        reported("a_global_overrun", "heap-buffer-overflow", || caught::<GlobalOverrun>(shape(1, 64, 0), 20, 0, words));
    } else {
        caught::<GlobalOverrun>(shape(1, 64, 0), 20, 0, words);
    }
}

/// Without instrumentation the memory around an allocation can be read.
#[test]
fn a_read_past_the_end() {
    let body = || {
        caught::<GlobalOverread>(
            shape(1, 32, 0),
            5,
            0,
            "reads 4 bytes 0 bytes past the end of an allocation of 20 bytes",
        )
    };
    if ADDRESS_SANITIZER {
        reported("a_read_past_the_end", "heap-buffer-overflow", body);
    } else if CHECKS_ACCESSES {
        body();
    }
}

#[test]
fn a_wild_pointer() {
    if ADDRESS_SANITIZER {
        reported("a_wild_pointer", "AddressSanitizer", || caught::<WildPointer>(shape(1, 32, 0), 1, 0, ""));
    } else {
        let words = if CHECKS_ACCESSES { "where nothing is allocated" } else { "which it may not" };
        caught::<WildPointer>(shape(1, 32, 0), 1, 0, words);
    }
}

#[test]
fn use_after_free() {
    let body = || {
        let stream = stream("emulator");
        let freed = stream.zeros::<f32>(64).unwrap().pointer();
        let out = stream.zeros::<f32>(1).unwrap();
        stream.run(shape(1, 32, 4), &Sum { x: freed, sums: out.pointer(), n: 32, unused: 0 })?;
        stream.read(&out)
    };
    if ADDRESS_SANITIZER {
        reported("use_after_free", "heap-use-after-free", || drop(body()));
    } else if CHECKS_ACCESSES {
        assert!(sentence(body()).contains("reads 4 bytes of memory that was freed"));
    } else {
        assert!(body().unwrap()[0].is_nan());
    }
}

#[test]
fn a_misaligned_vector() {
    assert_eq!(launch::<Misaligned>("emulator", shape(1, 32, 0), 8, 4).unwrap()[0], 22.0);
    let body = || caught::<Misaligned>(shape(1, 32, 0), 8, 1, "is not aligned as its type needs");
    if ADDRESS_SANITIZER {
        reported("a_misaligned_vector", "misaligned address", body);
    } else {
        body();
    }
}

#[test]
fn a_divergent_barrier() {
    let shape = shape(1, 64, 0);
    caught::<DivergentBarrier>(shape, 64, 0, "thread 0 waits at the barrier wrong.cu");
    caught::<DivergentBarrier>(shape, 64, 0, "but thread 40 has returned");
    caught::<DivergentBarrier>(shape, 64, 1, "but thread 40 has returned");
    caught::<DivergentBarrier>(shape, 64, 2, "but thread 40 waits at the barrier wrong.cu");
}

#[test]
fn a_divergent_shuffle() {
    let shape = shape(1, 64, 0);
    caught::<DivergentShuffle>(shape, 64, 0, "thread 0 waits for lanes 0xffffffff at wrong.cu");
    caught::<DivergentShuffle>(shape, 64, 0, "but thread 16 has returned");
    caught::<DivergentShuffle>(shape, 64, 1, "but thread 16 waits for lanes 0xffffffff at wrong.cu");
    caught::<DivergentShuffle>(shape, 64, 2, "reads lane 20 in a shuffle");
    caught::<DivergentShuffle>(shape, 64, 3, "which does not name its own lane 16");
    caught::<DivergentShuffle>(shape, 64, 4, "thread 16 waits for lanes 0xffffffff");
}

#[test]
fn uninitialised_shared_memory() {
    for device in ORDERS {
        let x = launch::<UninitialisedShared>(device, shape(2, 64, 256), 128, 0).unwrap();
        assert!(x.iter().enumerate().all(|(i, value)| value.is_nan() == (i % 64 == 7)), "{device}: {x:?}");
    }
}

#[test]
fn waiting_in_a_loop_for_another_thread() {
    caught::<Spin>(shape(1, 32, 4), 1, 0, "atomic operations without end");
}

#[test]
fn an_integer_division_by_zero() {
    assert_eq!(launch::<Divide>("emulator", shape(1, 32, 0), 32, 8).unwrap()[31], 4.0);
    if ADDRESS_SANITIZER {
        reported("an_integer_division_by_zero", "division by zero", || caught::<Divide>(shape(1, 32, 0), 32, 0, ""));
    } else {
        caught::<Divide>(shape(1, 32, 0), 32, 0, "divides an integer by zero");
    }
}

/// What must not compile: the C++ compiler refuses it, while it takes the right kernels.
#[test]
fn what_kernels_may_not_use() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let compiles = |kernel: &str| {
        let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
        let mut command = Command::new(compiler);
        command.args(["-std=c++17", "-fsyntax-only", "-DGODIFF_EMULATOR", "-x", "c++"]);
        command.arg("-I").arg(root.join("kernels")).arg("-I").arg(root.join("src/gpu/emulator"));
        command.arg(root.join("tests/planted").join(kernel)).output().unwrap().status.success()
    };
    assert!(compiles("correct.cu"));
    assert!(!compiles("refused/float_atomic.cu"));
    assert!(!compiles("refused/static_shared.cu"));
}

// ---- Launches that a card refuses ----

#[test]
fn launches_that_do_not_fit_the_kernel() {
    let stream = stream("emulator");
    let x = stream.zeros::<f32>(64).unwrap();
    let neighbour = Neighbour { x: x.pointer(), n: 64, which: 0 };
    for (threads, shared_bytes, words) in [
        (512, 2048, "runs with 1 to 256 threads a block and was given 512"),
        (0, 0, "was given 0"),
        (32, 99 * 1024 + 4, "101380 bytes of shared memory; a block has at most 101376"),
    ] {
        let sentence = sentence(stream.run(shape(1, threads, shared_bytes), &neighbour));
        assert!(sentence.contains(words), "{sentence}");
    }
    let unknown = Unknown { x: x.pointer() };
    assert_eq!(sentence(stream.run(shape(1, 32, 0), &unknown)), "there is no kernel 'planted_nowhere'");
    let long = Long { x: x.pointer(), n: 64, which: 0, more: 0 };
    let words = "kernel planted_neighbour takes 16 bytes of arguments and was given 24";
    assert_eq!(sentence(stream.run(shape(1, 32, 0), &long)), words);
    // Nothing ran, so the device lives.
    stream.run(shape(1, 64, 256), &neighbour).unwrap();
    stream.run(shape(0, 64, 256), &neighbour).unwrap();
}

#[test]
fn options_that_are_not_known() {
    for name in ["emulator:order=sideways", "emulator:memory=much", "emulator:nothing", "emulator:fail_launch=-1"] {
        let Err(Error::BadInput(sentence)) = Device::open(name) else { panic!("{name} is taken") };
        assert!(sentence.contains(name) && sentence.contains("order=forward|reverse|random"), "{sentence}");
    }
    assert!(matches!(Device::open("emulators"), Err(Error::BadInput(_))));
}

// ---- Memory ----

#[test]
fn memory_is_limited_and_comes_back() {
    let device = Device::open("emulator:memory=1000000").unwrap();
    assert_eq!(device.properties().memory, 1_000_000);
    let stream = device.stream().unwrap();
    let half = stream.zeros::<f32>(125_000).unwrap();
    assert_eq!(device.memory().unwrap(), (500_000, 1_000_000));
    let sentence = sentence(stream.zeros::<f64>(125_000));
    assert!(sentence.contains("not enough memory: 976.6 KiB more are needed"), "{sentence}");
    assert!(sentence.contains("488.3 KiB of 976.6 KiB are free; lower training.batch"), "{sentence}");
    drop(half);
    assert_eq!(device.memory().unwrap(), (1_000_000, 1_000_000));
    assert_eq!(stream.read(&stream.zeros::<f64>(125_000).unwrap()).unwrap(), vec![0.0; 125_000]);
    assert!(stream.zeros::<f64>(0).unwrap().is_empty());
    assert!(stream.read(&stream.upload::<u32>(&[]).unwrap()).unwrap().is_empty());
}

#[test]
fn parts_and_copies() {
    let stream = stream("emulator");
    let a = stream.upload(&[1_u32, 2, 3]).unwrap();
    let b = stream.upload(&[9_u32; 5]).unwrap();
    stream.copy(&a, &b).unwrap();
    stream.write(&b, 4, &[7]).unwrap();
    assert_eq!(stream.read(&b).unwrap(), [1, 2, 3, 9, 7]);
    assert_eq!(stream.read_part(&b, 1, 2).unwrap(), [2, 3]);
    stream.clear(&b).unwrap();
    assert_eq!(stream.read(&b).unwrap(), [0; 5]);
    assert!(sentence(stream.write(&b, 4, &[7, 8])).contains("write of 2 elements at 4 in a device buffer of 5"));
}

// ---- Capture ----

fn neighbour(stream: &Stream, x: &Buffer<f32>) -> godiff::Result<()> {
    stream.run(shape(1, 4, 16), &Neighbour { x: x.pointer(), n: 4, which: 0 })
}

#[test]
fn captured_work_runs_when_it_is_replayed() {
    let stream = stream("emulator");
    let x = stream.upload(&[0.0_f32, 1.0, 2.0, 3.0]).unwrap();
    let (copy, cleared) = (stream.zeros::<f32>(4).unwrap(), stream.upload(&[5.0_f32]).unwrap());
    let graph = stream
        .capture(|| {
            neighbour(&stream, &x)?;
            stream.copy(&x, &copy)?;
            stream.clear(&cleared)
        })
        .unwrap();
    assert_eq!(graph.n_nodes(), 3);
    assert_eq!(stream.read(&x).unwrap(), [0.0, 1.0, 2.0, 3.0]);
    for _ in 0..3 {
        stream.replay(&graph).unwrap();
    }
    assert_eq!(stream.read(&copy).unwrap(), [3.0, 0.0, 1.0, 2.0]);
    assert_eq!(stream.read(&cleared).unwrap(), [0.0]);
    let milliseconds = stream.time(|| stream.replay(&graph)).unwrap();
    assert!(milliseconds >= 0.0 && milliseconds.is_finite());
}

#[test]
fn what_a_capture_refuses() {
    type Work<'a> = Box<dyn Fn() -> godiff::Result<()> + 'a>;
    let stream = stream("emulator");
    let x = stream.zeros::<f32>(4).unwrap();
    let graph = stream.capture(|| neighbour(&stream, &x)).unwrap();
    let refused: [(&str, Work); 6] = [
        ("an allocation", Box::new(|| stream.zeros::<f32>(1).map(drop))),
        ("a write from the host", Box::new(|| stream.write(&x, 0, &[1.0]))),
        ("a read by the host", Box::new(|| stream.read(&x).map(drop))),
        ("waiting for the device", Box::new(|| stream.synchronize())),
        ("a replay", Box::new(|| stream.replay(&graph))),
        ("a time mark", Box::new(|| stream.time(|| Ok(())).map(drop))),
    ];
    for (what, work) in refused {
        let expected = format!("{what} is not possible while work is captured");
        assert_eq!(sentence(stream.capture(&work)), expected);
        // Also where the caller hides it.
        assert_eq!(sentence(stream.capture(|| work().or(Ok(())))), expected);
    }
    let buffer = stream.zeros::<f32>(1).unwrap();
    let freed = stream.capture(|| {
        drop(buffer);
        Ok(())
    });
    assert_eq!(sentence(freed), "freeing memory is not possible while work is captured");
    // The stream is as good as before.
    stream.replay(&graph).unwrap();
    assert_eq!(stream.read(&x).unwrap(), [0.0; 4]);
}

// ---- A lost device ----

#[test]
fn after_a_fault_the_device_is_lost() {
    let stream = stream("emulator");
    let x = stream.zeros::<f32>(64).unwrap();
    stream.run(shape(1, 64, 0), &DivergentBarrier { x: x.pointer(), n: 64, which: 0 }).unwrap_err();
    for lost in [
        sentence(stream.read(&x)),
        sentence(stream.synchronize()),
        sentence(stream.zeros::<f32>(1)),
        sentence(neighbour(&stream, &x)),
        sentence(stream.capture(|| Ok(()))),
        sentence(stream.device().memory()),
    ] {
        assert!(
            lost.starts_with("the emulator is lost since kernel planted_divergent_barrier, block (0, 0)"),
            "{lost}"
        );
    }
}

#[test]
fn a_launch_can_be_made_to_fail() {
    let stream = stream("emulator:fail_launch=3");
    let x = stream.zeros::<f32>(4).unwrap();
    let graph = stream.capture(|| neighbour(&stream, &x)).unwrap();
    neighbour(&stream, &x).unwrap();
    stream.replay(&graph).unwrap();
    assert_eq!(
        sentence(stream.replay(&graph)),
        "kernel planted_neighbour failed, as fail_launch=3 asked: the last checkpoint of a search is kept, and --resume continues from it"
    );
    assert!(sentence(stream.read(&x)).starts_with("the emulator is lost since kernel planted_neighbour failed"));
}

/// Prints the costs that docs/developing.md names: `cargo test --features emulator --test emulator -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn cost() {
    cost_of::<Barriers>("a barrier, 256 threads", shape(1, 256, 0), 10_000);
    cost_of::<Barriers>("a barrier, 32 threads", shape(1, 32, 0), 10_000);
    cost_of::<Shuffles>("a shuffle, 256 threads", shape(1, 256, 0), 10_000);
    cost_of::<Barriers>("start and end, 256 threads", shape(1000, 256, 0), 0);
}

/// The least of several, as other programs disturb.
fn cost_of<K: OfNumbers>(what: &str, shape: Shape, n: u32) {
    let stream = stream("emulator");
    let x = stream.zeros::<f32>(1).unwrap();
    let arguments = K::new(x.pointer(), n, 0);
    let times = (0..10).map(|_| stream.time(|| stream.run(shape, &arguments)).unwrap());
    let nanoseconds = f64::from(times.fold(f32::INFINITY, f32::min)) * 1e6;
    println!("{what}: {:.1} ns a thread", nanoseconds / f64::from(shape.threads * shape.blocks[0] * n.max(1)));
}
