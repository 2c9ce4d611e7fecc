//! The backend `emulator`: the same kernels, compiled as C++ and run on the CPU one thread at a time. It refuses calls that CUDA
//! refuses, and it ends a launch with a sentence where CUDA leaves the outcome undefined. It is made for tests, not for speed.
//!
//! `emulator:KEY=VALUE,...` sets, with the environment's `GODIFF_EMULATOR_<KEY>` as default:
//! - `order`: `forward`, `reverse` or `random`, the order of threads that are all ready to run;
//! - `memory`: bytes of device memory; an allocation beyond them fails;
//! - a number alone: the index of this emulator among several; each is a separate device;
//! - `fail_launch`: number of the launch, from 1, that ends like a kernel fault; all later calls fail too;
//! - `ptx`: `compare` runs every launch as C++ and as the PTX that this build embeds, and ends it where the results differ by more
//!   than the stated bounds; `only` runs it as PTX alone; `follow` runs it as C++ and models how long cards would take.

mod compiled;
mod ffi;
mod ptx;
mod speed;

pub use compiled::{CompiledLaunches, bounds, compiled_launches};
pub use speed::{CARDS, Card, FollowedLaunch, followed_launches};

use super::sentence::{CHECKPOINT_IS_KEPT, out_of_memory};
use super::{Properties, RawDevice, RawGraph, RawStream, Shape};
use crate::error::{Error, Result};
use compiled::{Allocation, Allocations, Mode};
use ffi::{Launch, Memory, Outcome};
use std::any::Any;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ThreadId;
use std::time::Instant;

/// Shared memory a block may have on sm_86, bytes.
const SHARED_MEMORY: usize = 99 * 1024;
/// Memory of an RTX 3090, bytes.
const MEMORY: usize = 24 << 30;
/// Seeds the random order.
const SEED: u64 = 0x9e37_79b9;

/// Opens `name`, "emulator" or "emulator:KEY=VALUE,...".
///
/// # Errors
/// `BadInput` for an unknown key or value.
pub fn open(name: &str) -> Result<Arc<dyn RawDevice>> {
    let settings = Settings::read(name)?;
    let properties = Properties {
        name: settings.index.map_or("emulator".to_owned(), |index| format!("emulator:{index}")),
        capability: (8, 6),
        multiprocessors: 82,
        shared_memory_per_block: SHARED_MEMORY,
        memory: settings.memory,
        clock: 0.0,
        bandwidth: 0.0,
    };
    let state = State {
        used: AtomicUsize::new(0),
        launches: AtomicU64::new(0),
        lost: Mutex::default(),
        captures: Mutex::default(),
        allocations: Mutex::default(),
    };
    Ok(Arc::new(Emulator { settings, properties, memory: Memory::new(), state }))
}

/// Settings of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Settings {
    order: Order,
    memory: usize,
    fail_launch: Option<u64>,
    index: Option<u32>,
    ptx: Mode,
}

/// The order of threads that are all ready to run; the numbers are those of scheduler.hpp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Forward = 0,
    Reverse = 1,
    Random = 2,
}

impl Settings {
    fn read(name: &str) -> Result<Self> {
        let mut settings =
            Settings { order: Order::Forward, memory: MEMORY, fail_launch: None, index: None, ptx: Mode::Off };
        for key in ["order", "memory", "fail_launch", "ptx"] {
            let variable = format!("GODIFF_EMULATOR_{}", key.to_uppercase());
            if let Ok(value) = std::env::var(&variable) {
                settings
                    .set(key, &value)
                    .map_err(|()| Error::bad_input(format!("{variable}: '{value}' is not known")))?;
            }
        }
        let options = name.strip_prefix("emulator").unwrap_or_default().trim_start_matches(':');
        for option in options.split(',').filter(|option| !option.is_empty()) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            settings.set(key, value).map_err(|()| {
                Error::bad_input(format!(
                    "device '{name}': '{option}' is not known; use order=forward|reverse|random, memory=BYTES, fail_launch=NUMBER, \
                     ptx=off|compare|only|follow"
                ))
            })?;
        }
        Ok(settings)
    }

    fn set(&mut self, key: &str, value: &str) -> std::result::Result<(), ()> {
        match (key, value) {
            ("order", "forward") => self.order = Order::Forward,
            ("order", "reverse") => self.order = Order::Reverse,
            ("order", "random") => self.order = Order::Random,
            ("memory", bytes) => self.memory = bytes.parse().map_err(drop)?,
            ("fail_launch", number) => self.fail_launch = Some(number.parse().map_err(drop)?),
            ("ptx", "off") => self.ptx = Mode::Off,
            ("ptx", "compare") => self.ptx = Mode::Compare,
            ("ptx", "only") => self.ptx = Mode::Only,
            ("ptx", "follow") => self.ptx = Mode::Follow,
            (index, "") if self.index.is_none() => self.index = Some(index.parse().map_err(drop)?),
            _ => return Err(()),
        }
        Ok(())
    }
}

struct Emulator {
    settings: Settings,
    properties: Properties,
    memory: Memory,
    state: State,
}

struct State {
    /// Bytes allocated.
    used: AtomicUsize,
    /// Launches so far.
    launches: AtomicU64,
    /// The reason why the device is lost, if it is.
    lost: Mutex<Option<String>>,
    /// For each thread that captures: a call that it made although no capture may contain it.
    captures: Mutex<HashMap<ThreadId, Option<&'static str>>>,
    /// What is allocated.
    allocations: Mutex<Allocations>,
}

/// The value behind `mutex`. A panic leaves nothing under these locks half done.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Emulator {
    /// An error once the device is lost.
    fn alive(&self) -> Result<()> {
        match &*lock(&self.state.lost) {
            None => Ok(()),
            Some(reason) => Err(Error::Failed(format!("the emulator is lost since {reason}"))),
        }
    }

    /// Refuses `what` while this thread captures, and spoils the capture.
    fn outside_capture(&self, what: &'static str) -> Result<()> {
        self.alive()?;
        match lock(&self.state.captures).get_mut(&std::thread::current().id()) {
            None => Ok(()),
            Some(spoilt) => {
                spoilt.get_or_insert(what);
                Err(not_capturable(what))
            }
        }
    }

    fn lose(&self, reason: String) -> Error {
        let sentence = Error::Failed(format!("{reason}: {CHECKPOINT_IS_KEPT}"));
        lock(&self.state.lost).get_or_insert(reason);
        sentence
    }

    fn run(&self, node: &Node) -> Result<()> {
        self.alive()?;
        let in_range = match node {
            Node::Copy { from, to, bytes } => self.memory.copy(*from, *to, *bytes),
            Node::Fill { address, bytes } => self.memory.fill_zero(*address, *bytes),
            Node::Launch { kernel, shape, arguments } => return self.run_kernel(kernel, *shape, arguments),
        };
        check(in_range, "copy or fill")
    }

    fn run_kernel(&self, kernel: &'static str, shape: Shape, arguments: &[u8]) -> Result<()> {
        let number = self.state.launches.fetch_add(1, Ordering::Relaxed) + 1;
        if self.settings.fail_launch == Some(number) {
            return Err(self.lose(format!("kernel {kernel} failed, as fail_launch={number} asked")));
        }
        if shape.shared_bytes as usize > SHARED_MEMORY {
            return Err(Error::Failed(format!(
                "kernel {kernel} was given {} bytes of shared memory; a block has at most {SHARED_MEMORY}",
                shape.shared_bytes
            )));
        }
        let launch = Launch { kernel, shape, arguments, order: self.settings.order as i32, seed: SEED ^ number };
        match self.settings.ptx {
            Mode::Off => self.run_cpp(&launch),
            Mode::Compare => self.run_both(kernel, &launch),
            Mode::Only => self.run_ptx(&launch),
            Mode::Follow => self.run_followed(kernel, &launch),
        }
    }

    fn run_cpp(&self, launch: &Launch) -> Result<()> {
        match self.memory.launch(launch) {
            Outcome::Done => Ok(()),
            Outcome::Refused(sentence) => Err(Error::Failed(sentence)),
            Outcome::Fault(sentence) => Err(self.lose(sentence)),
        }
    }

    fn run_ptx(&self, launch: &Launch) -> Result<()> {
        let mut regions = compiled::copies(&self.memory, &lock(&self.state.allocations));
        compiled::run(launch.kernel, launch.shape, launch.arguments, &mut regions)
            .map_err(|sentence| self.lose(sentence))?;
        check(regions.iter().all(|region| self.memory.write(region.address, &region.bytes)), "result of a kernel")
    }

    /// Follows some blocks of a launch as PTX on copies, and runs it as C++.
    fn run_followed(&self, kernel: &'static str, launch: &Launch) -> Result<()> {
        let mut regions = compiled::copies(&self.memory, &lock(&self.state.allocations));
        compiled::follow(kernel, launch.shape, launch.arguments, &mut regions)
            .map_err(|sentence| self.lose(sentence))?;
        self.run_cpp(launch)
    }

    /// Runs a launch as PTX on copies and as C++, whose results stay.
    fn run_both(&self, kernel: &'static str, launch: &Launch) -> Result<()> {
        let allocations = lock(&self.state.allocations).clone();
        let mut ptx = compiled::copies(&self.memory, &allocations);
        let done = compiled::run(kernel, launch.shape, launch.arguments, &mut ptx);
        self.run_cpp(launch)?;
        let cpp = compiled::copies(&self.memory, &allocations);
        done.and_then(|()| compiled::compare(kernel, &ptx, &cpp, &allocations)).map_err(|sentence| self.lose(sentence))
    }
}

fn not_capturable(what: &str) -> Error {
    Error::Failed(format!("{what} is not possible while work is captured"))
}

fn check(in_range: bool, what: &str) -> Result<()> {
    if in_range { Ok(()) } else { Err(Error::Failed(format!("{what} outside of the emulator's allocations"))) }
}

impl RawDevice for Emulator {
    fn properties(&self) -> &Properties {
        &self.properties
    }

    fn open_stream(self: Arc<Self>) -> Result<Box<dyn RawStream>> {
        self.alive()?;
        Ok(Box::new(Queue { device: self, captured: None, marks: Vec::new() }))
    }

    fn memory(&self) -> Result<(usize, usize)> {
        self.alive()?;
        let used = self.state.used.load(Ordering::Relaxed);
        Ok((self.settings.memory.saturating_sub(used), self.settings.memory))
    }

    fn allocate(&self, bytes: usize) -> Result<u64> {
        self.outside_capture("an allocation")?;
        if bytes == 0 {
            return Ok(0);
        }
        let total = self.settings.memory;
        let fits = |used: usize| used.checked_add(bytes).filter(|&sum| sum <= total);
        let taken = self.state.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        match taken.ok().and_then(|_| self.memory.allocate(bytes)) {
            Some(address) => {
                lock(&self.state.allocations).insert(address, Allocation { bytes, element: "u8" });
                Ok(address)
            }
            None => {
                if taken.is_ok() {
                    self.state.used.fetch_sub(bytes, Ordering::Relaxed);
                }
                let free = total.saturating_sub(self.state.used.load(Ordering::Relaxed));
                Err(out_of_memory(bytes, Some((free, total))))
            }
        }
    }

    fn note_element(&self, address: u64, element: &'static str) {
        if let Some(allocation) = lock(&self.state.allocations).get_mut(&address) {
            allocation.element = element;
        }
    }

    fn free(&self, address: u64, bytes: usize) {
        if bytes == 0 {
            return;
        }
        if let Some(spoilt) = lock(&self.state.captures).get_mut(&std::thread::current().id()) {
            spoilt.get_or_insert("freeing memory");
        }
        lock(&self.state.allocations).remove(&address);
        if self.memory.free(address) {
            self.state.used.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

/// A queue that runs its work at once.
struct Queue {
    device: Arc<Emulator>,
    captured: Option<Vec<Node>>,
    marks: Vec<Instant>,
}

impl Queue {
    fn queue(&mut self, node: Node) -> Result<()> {
        match &mut self.captured {
            Some(nodes) => {
                self.device.alive()?;
                nodes.push(node);
                Ok(())
            }
            None => self.device.run(&node),
        }
    }
}

impl RawStream for Queue {
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<()> {
        self.device.outside_capture("a write from the host")?;
        check(bytes.is_empty() || self.device.memory.write(address, bytes), "write")
    }

    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<()> {
        self.device.outside_capture("a read by the host")?;
        check(bytes.is_empty() || self.device.memory.read(address, bytes), "read")
    }

    fn copy(&mut self, from: u64, to: u64, bytes: usize) -> Result<()> {
        if bytes == 0 { Ok(()) } else { self.queue(Node::Copy { from, to, bytes }) }
    }

    fn fill_zero(&mut self, address: u64, bytes: usize) -> Result<()> {
        if bytes == 0 { Ok(()) } else { self.queue(Node::Fill { address, bytes }) }
    }

    fn launch(&mut self, kernel: &'static str, shape: Shape, arguments: &[u8]) -> Result<()> {
        self.queue(Node::Launch { kernel, shape, arguments: arguments.into() })
    }

    fn synchronize(&mut self) -> Result<()> {
        self.device.outside_capture("waiting for the device")
    }

    fn begin_capture(&mut self) -> Result<()> {
        self.device.outside_capture("another capture")?;
        lock(&self.device.state.captures).insert(std::thread::current().id(), None);
        self.captured = Some(Vec::new());
        Ok(())
    }

    fn end_capture(&mut self) -> Result<Box<dyn RawGraph>> {
        let spoilt = lock(&self.device.state.captures).remove(&std::thread::current().id()).flatten();
        let nodes = self.captured.take();
        self.device.alive()?;
        match (nodes, spoilt) {
            (_, Some(what)) => Err(not_capturable(what)),
            (None, None) => Err(Error::Failed("a capture ends that never began".to_owned())),
            (Some(nodes), None) => Ok(Box::new(Captured(nodes))),
        }
    }

    fn replay(&mut self, graph: &dyn RawGraph) -> Result<()> {
        let Some(Captured(nodes)) = graph.as_any().downcast_ref() else {
            return Err(Error::Failed("captured work of another device cannot be replayed".to_owned()));
        };
        self.device.outside_capture("a replay")?;
        nodes.iter().try_for_each(|node| self.device.run(node))
    }

    fn mark(&mut self) -> Result<usize> {
        self.device.outside_capture("a time mark")?;
        self.marks.push(Instant::now());
        Ok(self.marks.len() - 1)
    }

    fn elapsed(&mut self, from: usize, to: usize) -> Result<f32> {
        self.device.outside_capture("a measurement")?;
        match (self.marks.get(from), self.marks.get(to)) {
            (Some(from), Some(to)) => Ok(to.duration_since(*from).as_secs_f32() * 1e3),
            _ => Err(Error::Failed("a time was asked for between marks that were never set".to_owned())),
        }
    }
}

/// A piece of captured work.
enum Node {
    Launch { kernel: &'static str, shape: Shape, arguments: Box<[u8]> },
    Copy { from: u64, to: u64, bytes: usize },
    Fill { address: u64, bytes: usize },
}

struct Captured(Vec<Node>);

impl RawGraph for Captured {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn n_nodes(&self) -> usize {
        self.0.len()
    }
}
