//! Work recorded once and replayed whole, and marks in the stream.

use super::context::Context;
use crate::error::Result;
use cudarc::driver::sys;
use std::sync::Arc;

/// A mark in the stream that the host can wait for.
pub(super) struct Event {
    raw: sys::CUevent,
    context: Arc<Context>,
}

// SAFETY: the driver's handles may be used from any thread whose current context is theirs.
unsafe impl Send for Event {}

impl Event {
    pub fn new(context: &Arc<Context>) -> Result<Event> {
        let mut raw = std::ptr::null_mut();
        let untimed = sys::CUevent_flags::CU_EVENT_DISABLE_TIMING as u32;
        // SAFETY: the context is current; the driver writes one handle.
        context.check("cuEventCreate", unsafe { sys::cuEventCreate(&mut raw, untimed) })?;
        Ok(Event { raw, context: context.clone() })
    }

    /// Marks where the stream ends now.
    pub fn record(&self) -> Result<()> {
        // SAFETY: both handles are alive.
        self.context.check("cuEventRecord", unsafe { sys::cuEventRecord(self.raw, self.context.stream) })
    }

    /// Waits until the device has come to the mark.
    pub fn wait(&self) -> Result<()> {
        // SAFETY: the handle is alive.
        self.context.check("cuEventSynchronize", unsafe { sys::cuEventSynchronize(self.raw) })
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        self.context.current();
        // SAFETY: destroyed once.
        unsafe { sys::cuEventDestroy_v2(self.raw) };
    }
}

/// Recorded work with all its addresses.
pub(super) struct Graph {
    raw: sys::CUgraphExec,
    context: Arc<Context>,
}

// SAFETY: as for `Event`.
unsafe impl Send for Graph {}

impl Graph {
    /// Records what `work` asks of the stream that it is given. Nothing runs.
    pub fn record(context: &Arc<Context>, work: impl FnOnce(sys::CUstream) -> Result<()>) -> Result<Graph> {
        let recorder = context.recorder.lock().unwrap_or_else(|e| e.into_inner());
        let stream = recorder.0;
        // Other threads go on as they please: none of them knows this stream.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        // SAFETY: the stream is alive and this thread's while the lock is held.
        context.check("cuStreamBeginCapture", unsafe { sys::cuStreamBeginCapture_v2(stream, mode) })?;
        let asked = work(stream);
        let mut graph = std::ptr::null_mut();
        // SAFETY: ends what was begun above, whatever came between.
        let ended = unsafe { sys::cuStreamEndCapture(stream, &mut graph) };
        drop(recorder);
        asked?;
        context.check("cuStreamEndCapture", ended)?;
        let mut raw = std::ptr::null_mut();
        // SAFETY: the graph is whole; it is destroyed once, the executable copy stays.
        let made = unsafe {
            let made = sys::cuGraphInstantiateWithFlags(&mut raw, graph, 0);
            sys::cuGraphDestroy(graph);
            made
        };
        context.check("cuGraphInstantiate", made)?;
        Ok(Graph { raw, context: context.clone() })
    }

    /// Runs it, after all that was asked before.
    pub fn launch(&self) -> Result<()> {
        // SAFETY: both handles are alive.
        self.context.check("cuGraphLaunch", unsafe { sys::cuGraphLaunch(self.raw, self.context.stream) })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        self.context.current();
        // SAFETY: destroyed once; a run that is under way ends first.
        unsafe { sys::cuGraphExecDestroy(self.raw) };
    }
}
