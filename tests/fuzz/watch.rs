//! Ends the process when one input takes too much of the CPU, and remembers which input is being read should the process die.

use super::engine::keep;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// CPU time after which an input counts as a hang, s: thousands of times what any input of this size may need.
const LIMIT: f64 = if cfg!(debug_assertions) { 20.0 } else { 2.0 };
/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);
/// No input is being read.
const IDLE: u64 = u64::MAX;

/// Watches over one thread.
pub struct Watch {
    current: Arc<AtomicU64>,
    done: Arc<AtomicBool>,
    /// Holds the number of the input that is being read, for whoever finds the process gone.
    trace: std::fs::File,
}

impl Watch {
    /// Watches the calling thread; `input` makes an input again from its number.
    pub fn start(name: &'static str, input: impl Fn(u64) -> Vec<u8> + Send + 'static) -> Self {
        let (current, done) = (Arc::new(AtomicU64::new(IDLE)), Arc::new(AtomicBool::new(false)));
        let (seen, ended, thread) = (Arc::clone(&current), Arc::clone(&done), this_thread());
        std::thread::spawn(move || {
            let (mut last, mut since) = (IDLE, 0.0);
            while !ended.load(Ordering::Relaxed) {
                std::thread::sleep(LOOK);
                let (number, now) = (seen.load(Ordering::Relaxed), cpu_seconds_of(&thread));
                if number != last {
                    (last, since) = (number, now);
                } else if number != IDLE && now - since > LIMIT {
                    let path = keep(name, number, &input(number));
                    eprintln!(
                        "{name} has been reading input {number} for {LIMIT} s of CPU; it is kept in {}",
                        path.display()
                    );
                    std::process::abort();
                }
            }
        });
        let trace = keep(name, IDLE, b"").with_file_name(format!("{name}.reading"));
        let _ = std::fs::remove_file(trace.with_file_name(format!("{name}-{IDLE}")));
        let trace = std::fs::File::create(trace).expect("target/fuzz can be written");
        Watch { current, done, trace }
    }

    /// Input `number` is going to be read.
    pub fn begin(&self, number: u64) {
        let _ = self.trace.write_at(format!("{number:20}\n").as_bytes(), 0);
        self.current.store(number, Ordering::Relaxed);
    }

    /// It has been read.
    pub fn end(&self) {
        self.current.store(IDLE, Ordering::Relaxed);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
    }
}

/// Where the system counts the time of the calling thread.
fn this_thread() -> PathBuf {
    let thread = std::fs::read_link("/proc/thread-self").unwrap_or_default();
    PathBuf::from("/proc").join(thread).join("schedstat")
}

/// CPU time of a thread, s; 0 where the system does not tell.
fn cpu_seconds_of(thread: &PathBuf) -> f64 {
    let text = std::fs::read_to_string(thread).unwrap_or_default();
    text.split_whitespace().next().and_then(|word| word.parse().ok()).map_or(0.0, |nanoseconds: f64| 1e-9 * nanoseconds)
}

/// CPU time of the calling thread, s.
pub fn cpu_seconds() -> f64 {
    cpu_seconds_of(&PathBuf::from("/proc/thread-self/schedstat"))
}
