//! Work of the library in a thread of its own, while the calling thread hears its events and Ctrl-C.

use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError};
use pyo3::prelude::*;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Longest wait before the calling thread looks whether Ctrl-C was pressed.
const BEAT: Duration = Duration::from_millis(50);
/// Stack of the working thread, bytes: as much as a main thread has.
const STACK: usize = 8 << 20;

enum Message<T> {
    /// A line, and what is dropped once it was heard.
    Event(String, Sender<()>),
    Done(T),
}

/// Sends `line` and waits until it was heard, so that a callback can stop a run where it is. Nobody listens after a second Ctrl-C.
fn tell<T>(sender: &Sender<Message<T>>, line: String) {
    let (unheard, heard) = channel();
    if sender.send(Message::Event(line, unheard)).is_ok() {
        // It ends with an error, when the other end is dropped.
        let _ = heard.recv();
    }
}

/// What the working thread gets.
pub struct Desk<T> {
    /// Set when the work shall end.
    pub interrupted: Arc<AtomicBool>,
    sender: Sender<Message<T>>,
}

impl<T> Desk<T> {
    /// A function that hands a line to the callback.
    pub fn say(&self) -> impl Fn(String) + Send + Sync + use<T>
    where
        T: Send,
    {
        let sender = Mutex::new(self.sender.clone());
        move |line| {
            let sender = sender.lock().unwrap_or_else(PoisonError::into_inner).clone();
            tell(&sender, line);
        }
    }

    /// The same as a file.
    pub fn lines(&self) -> Lines<T> {
        Lines { sender: self.sender.clone(), text: Vec::new() }
    }
}

/// A file whose lines go to the callback.
pub struct Lines<T> {
    sender: Sender<Message<T>>,
    text: Vec<u8>,
}

impl<T> Write for Lines<T> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.text.extend_from_slice(bytes);
        while let Some(end) = self.text.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.text.drain(..=end).collect();
            tell(&self.sender, String::from_utf8_lossy(&line[..end]).into_owned());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Does `task` in a thread. Meanwhile this thread calls `on_event` with each line, and lets other Python threads run. The first
/// Ctrl-C asks the task to end and waits for it; a second one raises `KeyboardInterrupt` at once. An exception of `on_event` also
/// ends the task and is raised after it.
pub fn work<T: Send + 'static>(
    py: Python,
    on_event: Option<Py<PyAny>>,
    task: impl FnOnce(&Desk<T>) -> T + Send + 'static,
) -> PyResult<T> {
    let (sender, receiver) = channel();
    let interrupted = Arc::new(AtomicBool::new(false));
    let desk = Desk { interrupted: Arc::clone(&interrupted), sender };
    let run = move || {
        let outcome = task(&desk);
        let _ = desk.sender.send(Message::Done(outcome));
    };
    std::thread::Builder::new().name("godiff".into()).stack_size(STACK).spawn(run)?;
    let receiver = Mutex::new(receiver);
    let mut failure: Option<PyErr> = None;
    loop {
        match py.detach(|| next(&receiver)) {
            Ok(Message::Done(outcome)) => return failure.map_or(Ok(outcome), Err),
            Ok(Message::Event(line, _unheard)) => {
                let heard =
                    on_event.as_ref().filter(|_| failure.is_none()).map_or(Ok(()), |f| f.call1(py, (line,)).map(drop));
                match heard {
                    Err(error) if !error.is_instance_of::<PyKeyboardInterrupt>(py) => {
                        interrupted.store(true, Ordering::Relaxed);
                        failure = Some(error);
                    }
                    Err(_) => interrupted.store(true, Ordering::Relaxed),
                    Ok(()) => {}
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(PyRuntimeError::new_err("godiff has a fault: its thread ended without a result"));
            }
        }
        if let Err(signal) = py.check_signals()
            && interrupted.swap(true, Ordering::Relaxed)
        {
            return Err(signal);
        }
    }
}

fn next<T>(receiver: &Mutex<Receiver<Message<T>>>) -> Result<Message<T>, RecvTimeoutError> {
    receiver.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(BEAT)
}
