//! How does a window stay awake while a network learns? The training has a thread of its own, and is one frame ahead.

use super::mode::{Mode, Scene};
use super::trainer::{Command, Trainer};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use sunstone::prelude::*;

/// The share of a frame of 1/60 s that training may take: what is left is for drawing.
const BUDGET: Duration = Duration::from_millis(11);

/// How long a window that draws nothing, because it is minimised or covered, holds the training up.
const PATIENCE: Duration = Duration::from_millis(200);

/// What the window tells the training.
enum Message {
    /// A frame was drawn.
    Drawn,
    Command(Command),
}

/// A training in a thread. It ends, and is waited for, when this is dropped.
pub struct Worker {
    send: Option<Sender<Message>>,
    thread: Option<JoinHandle<()>>,
    latest: Arc<Mutex<Latest>>,
}

type Latest = Option<Result<Arc<Scene>>>;

impl Worker {
    /// Starts a thread that makes a mode and trains it; `wake` is called after each frame's work.
    pub fn start(
        make: impl FnOnce() -> Result<Box<dyn Mode>> + Send + 'static,
        steps: usize,
        wake: impl Fn() + Send + 'static,
    ) -> Worker {
        let (send, receive) = channel();
        let latest = Arc::new(Mutex::new(None));
        let publish = {
            let latest = latest.clone();
            move |news: Result<Arc<Scene>>| {
                *latest.lock().unwrap_or_else(|e| e.into_inner()) = Some(news);
                wake();
            }
        };
        let thread = std::thread::spawn(move || {
            let worked = make().and_then(|mode| work(Trainer::new(mode, steps), &receive, &publish));
            if let Err(error) = worked {
                publish(Err(error));
            }
        });
        Worker { send: Some(send), thread: Some(thread), latest }
    }

    /// What was computed last; `None` before the first frame.
    pub fn latest(&self) -> Latest {
        self.latest.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// Asks for something.
    pub fn command(&self, command: Command) {
        self.send(Message::Command(command));
    }

    /// Says that a frame was drawn, so that the next one's steps may be done.
    pub fn drawn(&self) {
        self.send(Message::Drawn);
    }

    fn send(&self, message: Message) {
        // After an error nobody listens; the window has the error.
        let _ = self.send.as_ref().map(|send| send.send(message));
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.send = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was printed there.
            let _ = thread.join();
        }
    }
}

/// Trains until nobody asks for it any more.
fn work(mut trainer: Trainer, receive: &Receiver<Message>, publish: &dyn Fn(Result<Arc<Scene>>)) -> Result<()> {
    loop {
        publish(Ok(Arc::new(trainer.frame(Some(BUDGET))?)));
        if !wait(&mut trainer, receive)? {
            return Ok(());
        }
    }
}

/// Waits until it is time for the next frame's work; false when there will be none.
fn wait(trainer: &mut Trainer, receive: &Receiver<Message>) -> Result<bool> {
    let mut changed = false;
    loop {
        // What is there already is taken first, so that a slider in motion makes no queue.
        let message = match receive.try_recv() {
            Ok(message) => Ok(message),
            Err(_) if changed => return Ok(true),
            Err(_) if trainer.rests() => receive.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Err(_) => receive.recv_timeout(PATIENCE),
        };
        match message {
            Ok(Message::Command(command)) => {
                trainer.obey(command)?;
                changed = true;
            }
            Ok(Message::Drawn) if trainer.rests() => (),
            Ok(Message::Drawn) | Err(RecvTimeoutError::Timeout) => changed = true,
            Err(RecvTimeoutError::Disconnected) => return Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::field::Field;
    use crate::view::gpu::Gpu;
    use crate::view::points::Data;

    fn learn(gpu: &Gpu) -> Worker {
        let device = gpu.tensors.clone();
        Worker::start(move || Ok(Box::new(Field::new(Data::Moons, 1, 0.01, &device)?)), 1, || ())
    }

    #[test]
    fn a_lost_device_is_told_and_another_one_learns() {
        let Ok(gpu) = Gpu::open(None, None) else { return };
        let worker = learn(&gpu);
        while worker.latest().is_none() {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(worker.latest().is_some_and(|news| news.is_ok()));
        gpu.backend.destroy();
        while worker.latest().is_some_and(|news| news.is_ok()) {
            worker.drawn();
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(matches!(worker.latest(), Some(Err(Error::DeviceLost { .. }))));
        worker.command(Command::Step);
        drop(worker);
        let again = learn(&Gpu::open(None, None).unwrap());
        while again.latest().is_none() {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(again.latest().is_some_and(|news| news.is_ok()));
    }
}
