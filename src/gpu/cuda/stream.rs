//! An in-order queue on one card, and the graphs that it captures.

use super::card::Card;
use super::driver::{self, Code};
use super::sentence::{at_work, is_fatal};
use super::{checked, refusal};
use crate::error::{Error, Result};
use crate::gpu::{RawGraph, RawStream, Shape};
use cudarc::driver::sys::{self, CUevent, CUgraph, CUgraphExec, CUstream};
use std::any::Any;
use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

/// The queue.
pub struct Queue {
    card: Arc<Card>,
    stream: CUstream,
    /// Events; a mark is a position in this list. The positions in `spare` are free.
    events: Vec<CUevent>,
    spare: Vec<usize>,
    capturing: bool,
    /// The operation queued last. A fault shows at a later call; it happened in this operation or in an earlier one.
    last: Option<&'static str>,
}

// SAFETY: streams and events are plain values, usable from every thread in which their context is current, and `Card::enter`
// precedes every use; `&mut self` keeps the calls of one queue in order.
unsafe impl Send for Queue {}

impl Queue {
    /// A queue that does not wait for other queues.
    pub fn open(card: Arc<Card>) -> Result<Self> {
        card.enter()?;
        let mut stream = ptr::null_mut();
        // SAFETY: writes one handle; destroyed in `drop`.
        let code =
            unsafe { driver::cuStreamCreate(&mut stream, sys::CUstream_flags_enum::CU_STREAM_NON_BLOCKING as u32) };
        checked(code, "cuStreamCreate")?;
        Ok(Queue { card, stream, events: Vec::new(), spare: Vec::new(), capturing: false, last: None })
    }

    /// Checks before a call that a capture does not allow.
    fn enter_outside_capture(&self, what: &str) -> Result<()> {
        if self.capturing {
            return Err(Error::Failed(format!("internal error: {what} within a capture")));
        }
        self.card.enter()
    }

    /// `Failed` for every code but success. `call` returned the code; a fault happened earlier, in queued work.
    fn checked(&self, code: Code, call: &str) -> Result<()> {
        refusal(code).map_err(|refusal| match self.last {
            Some(kernel) if is_fatal(refusal.code) => {
                at_work(&refusal, &format!("kernel '{kernel}' or what was queued before it"))
            }
            _ => at_work(&refusal, call),
        })
    }

    fn wait(&mut self) -> Result<()> {
        // SAFETY: the stream is alive.
        self.checked(unsafe { driver::cuStreamSynchronize(self.stream) }, "cuStreamSynchronize")
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if self.card.enter().is_ok() {
            for event in &self.events {
                // SAFETY: created in this context, destroyed once. A `drop` cannot report a failure.
                let _ = unsafe { driver::cuEventDestroy_v2(*event) };
            }
            // SAFETY: as above; queued work still runs to its end.
            let _ = unsafe { driver::cuStreamDestroy_v2(self.stream) };
        }
    }
}

impl RawStream for Queue {
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<()> {
        self.enter_outside_capture("write")?;
        if bytes.is_empty() {
            return Ok(());
        }
        // SAFETY: `bytes` is readable, and the device range lies in one buffer, as the caller checked.
        let code = unsafe { driver::cuMemcpyHtoDAsync_v2(address, bytes.as_ptr().cast(), bytes.len(), self.stream) };
        self.checked(code, "cuMemcpyHtoDAsync")?;
        // The driver may read pageable memory until the copy is done.
        self.wait()
    }

    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<()> {
        self.enter_outside_capture("read")?;
        if !bytes.is_empty() {
            // SAFETY: `bytes` is writable until `wait` returns, and the device range lies in one buffer, as the caller checked.
            let code =
                unsafe { driver::cuMemcpyDtoHAsync_v2(bytes.as_mut_ptr().cast(), address, bytes.len(), self.stream) };
            let queued = self.checked(code, "cuMemcpyDtoHAsync");
            // Even after a refused copy the code waits: nothing may write to `bytes` later.
            return self.wait().and(queued);
        }
        self.wait()
    }

    fn copy(&mut self, from: u64, to: u64, bytes: usize) -> Result<()> {
        self.card.enter()?;
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: both ranges lie in buffers, as the caller checked; the addresses are of this context.
        self.checked(unsafe { driver::cuMemcpyDtoDAsync_v2(to, from, bytes, self.stream) }, "cuMemcpyDtoDAsync")
    }

    fn fill_zero(&mut self, address: u64, bytes: usize) -> Result<()> {
        self.card.enter()?;
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: the range is a whole buffer.
        self.checked(unsafe { driver::cuMemsetD8Async(address, 0, bytes, self.stream) }, "cuMemsetD8Async")
    }

    fn launch(&mut self, kernel: &'static str, shape: Shape, arguments: &[u8]) -> Result<()> {
        self.card.enter()?;
        let loaded = self.card.kernel(kernel)?;
        let internal = |what: String| Err(Error::Failed(format!("internal error: kernel '{kernel}': {what}")));
        if arguments.len() != loaded.kernel.argument_bytes {
            let taken = loaded.kernel.argument_bytes;
            return internal(format!("{} bytes of arguments, it takes {taken}", arguments.len()));
        }
        if shape.threads == 0 || shape.threads > loaded.kernel.max_threads {
            return internal(format!("{} threads a block, it takes 1 to {}", shape.threads, loaded.kernel.max_threads));
        }
        if shape.shared_bytes as usize > loaded.shared_bytes {
            return internal(format!(
                "{} bytes of shared memory, a block has {}",
                shape.shared_bytes, loaded.shared_bytes
            ));
        }
        let mut n_bytes = arguments.len();
        let mut extra = [
            sys::CU_LAUNCH_PARAM_BUFFER_POINTER_AS_INT as *mut c_void,
            arguments.as_ptr().cast_mut().cast(),
            sys::CU_LAUNCH_PARAM_BUFFER_SIZE_AS_INT as *mut c_void,
            ptr::from_mut(&mut n_bytes).cast(),
            sys::CU_LAUNCH_PARAM_END_AS_INT as *mut c_void,
        ];
        let [blocks_x, blocks_y] = shape.blocks;
        // SAFETY: the list ends as it must. The call copies the arguments, which have as many bytes as the kernel takes. The
        // engine is responsible for the addresses in them; a later call reports a wrong one as a fault.
        let code = unsafe {
            driver::cuLaunchKernel(
                loaded.function,
                blocks_x,
                blocks_y,
                1,
                shape.threads,
                1,
                1,
                shape.shared_bytes,
                self.stream,
                ptr::null_mut(),
                extra.as_mut_ptr(),
            )
        };
        self.checked(code, &format!("kernel '{kernel}'"))?;
        self.last = Some(kernel);
        Ok(())
    }

    fn synchronize(&mut self) -> Result<()> {
        self.enter_outside_capture("synchronisation")?;
        self.wait()?;
        self.card.check_frees()
    }

    fn begin_capture(&mut self) -> Result<()> {
        self.enter_outside_capture("capture")?;
        // Only this thread is kept from calls that a capture does not allow; other replicas continue.
        let mode = sys::CUstreamCaptureMode_enum::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream is alive.
        checked(unsafe { driver::cuStreamBeginCapture_v2(self.stream, mode) }, "cuStreamBeginCapture")?;
        self.capturing = true;
        Ok(())
    }

    fn end_capture(&mut self) -> Result<Box<dyn RawGraph>> {
        self.card.enter()?;
        self.capturing = false;
        let mut captured = Captured(ptr::null_mut());
        // SAFETY: writes one handle, null if the capture was broken.
        checked(unsafe { driver::cuStreamEndCapture(self.stream, &mut captured.0) }, "cuStreamEndCapture")?;
        let mut n_nodes = 0;
        // SAFETY: without an array for the nodes, only their number is written.
        checked(unsafe { driver::cuGraphGetNodes(captured.0, ptr::null_mut(), &mut n_nodes) }, "cuGraphGetNodes")?;
        let mut executable = ptr::null_mut();
        // SAFETY: the graph is alive; writes one handle, destroyed with `Graph`.
        let code = unsafe { driver::cuGraphInstantiateWithFlags(&mut executable, captured.0, 0) };
        checked(code, "cuGraphInstantiate")?;
        Ok(Box::new(Graph { card: Arc::clone(&self.card), executable, n_nodes, last: self.last }))
    }

    fn replay(&mut self, graph: &dyn RawGraph) -> Result<()> {
        self.enter_outside_capture("replay")?;
        let graph = graph.as_any().downcast_ref::<Graph>().filter(|graph| Arc::ptr_eq(&graph.card, &self.card));
        let graph = graph.ok_or_else(|| Error::Failed("internal error: replay of another device's work".to_owned()))?;
        // SAFETY: the graph is alive and of this context.
        self.checked(unsafe { driver::cuGraphLaunch(graph.executable, self.stream) }, "cuGraphLaunch")?;
        self.last = graph.last;
        Ok(())
    }

    fn mark(&mut self) -> Result<usize> {
        self.enter_outside_capture("mark")?;
        let mark = match self.spare.pop() {
            Some(mark) => mark,
            None => {
                let mut event = ptr::null_mut();
                // SAFETY: writes one handle; destroyed in `drop`.
                checked(unsafe { driver::cuEventCreate(&mut event, 0) }, "cuEventCreate")?;
                self.events.push(event);
                self.events.len() - 1
            }
        };
        // SAFETY: event and stream are alive and of one context.
        checked(unsafe { driver::cuEventRecord(self.events[mark], self.stream) }, "cuEventRecord")?;
        Ok(mark)
    }

    fn elapsed(&mut self, from: usize, to: usize) -> Result<f32> {
        self.enter_outside_capture("measurement")?;
        // SAFETY: both were recorded by `mark`.
        self.checked(unsafe { driver::cuEventSynchronize(self.events[to]) }, "cuEventSynchronize")?;
        let mut milliseconds = 0.0;
        // SAFETY: writes one number.
        let code = unsafe { driver::cuEventElapsedTime(&mut milliseconds, self.events[from], self.events[to]) };
        checked(code, "cuEventElapsedTime")?;
        self.spare.extend([from, to]);
        Ok(milliseconds)
    }
}

/// A graph that is not executable yet, destroyed when dropped.
struct Captured(CUgraph);

impl Drop for Captured {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: destroyed once; executables made from it do not need it.
            let _ = unsafe { driver::cuGraphDestroy(self.0) };
        }
    }
}

/// Captured work, ready to be launched.
struct Graph {
    card: Arc<Card>,
    executable: CUgraphExec,
    n_nodes: usize,
    /// The last kernel in it.
    last: Option<&'static str>,
}

// SAFETY: the executable is a plain value; a replay takes the queue's `&mut self`, and the context is entered before every use.
unsafe impl Send for Graph {}

impl RawGraph for Graph {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn n_nodes(&self) -> usize {
        self.n_nodes
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        if self.card.enter().is_ok() {
            // SAFETY: destroyed once; a launch under way runs to its end first.
            let _ = unsafe { driver::cuGraphExecDestroy(self.executable) };
        }
    }
}
