//! How does the view live in a window? It draws what the training has got to, does what the user wants, and opens the
//! device again when it is lost.

use super::face::{Face, Wish};
use super::gpu::Gpu;
use super::look;
use super::painter::{Frame, Painter};
use super::screen::{Screen, surface};
use super::trainer::Command;
use super::worker::Worker;
use super::{MOST_STEPS, Options};
use egui::ViewportId;
use std::panic::catch_unwind;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use sunstone::prelude::*;
use winit::application::ApplicationHandler;
use winit::dpi::LogicalSize;
use winit::event::{StartCause, WindowEvent};
use winit::event_loop::{ActiveEventLoop, ControlFlow, EventLoop, EventLoopProxy};
use winit::window::{Window, WindowId};

/// A device that is lost again within this time is given up.
const HOPE: Duration = Duration::from_secs(10);

/// The training has something new.
#[derive(Debug)]
struct Wake;

/// See [`super::window`].
pub fn run(options: Options) -> Result<()> {
    let events = open_display()?;
    let mut app = App { proxy: events.create_proxy(), options, live: None, failed: None };
    events.run_app(&mut app).map_err(|e| no_display(&e.to_string()))?;
    app.failed.map_or(Ok(()), Err)
}

fn open_display() -> Result<EventLoop<Wake>> {
    // winit panics where a library of the display's is missing.
    let opened = catch_unwind(|| EventLoop::with_user_event().build());
    match opened {
        Ok(Ok(events)) => Ok(events),
        Ok(Err(error)) => Err(no_display(&error.to_string())),
        Err(_) => Err(no_display("a library is missing; see the line above")),
    }
}

fn no_display(why: &str) -> Error {
    // winit tells where in its sources, then what.
    let why = why.rsplit(": ").next().unwrap_or(why);
    let what = format!("a window ({why}); --frames N --screenshot FILE.png does without one");
    Error::Unsupported { device: "this machine".into(), what }
}

/// The program, between the system's events.
struct App {
    options: Options,
    proxy: EventLoopProxy<Wake>,
    live: Option<Live>,
    failed: Option<Error>,
}

impl App {
    fn fail(&mut self, events: &ActiveEventLoop, error: Error) {
        self.failed = Some(error);
        events.exit();
    }

    /// Opens the window, or lives on in it after the device was lost.
    fn open(&mut self, events: &ActiveEventLoop) -> Result<()> {
        let [width, height] = self.options.size;
        let attributes = Window::default_attributes()
            .with_title(format!("Sunstone: {}", self.options.title()))
            .with_min_inner_size(LogicalSize::new(640, 420))
            .with_inner_size(LogicalSize::new(width, height));
        let window = events.create_window(attributes).map_err(|e| no_display(&e.to_string()))?;
        self.live = Some(Live::new(Arc::new(window), &self.options, &self.proxy, None)?);
        Ok(())
    }

    /// Everything but the window, and what the user has set, is made anew.
    fn reopen(&mut self, lost: Error) -> Result<()> {
        let Some(Live { window, face, born, worker, .. }) = self.live.take() else { return Ok(()) };
        drop(worker);
        if born.elapsed() < HOPE {
            return Err(lost);
        }
        self.options = Options { lr: Some(face.lr), seed: face.seed, steps: face.steps, ..self.options.clone() };
        self.live = Some(Live::new(window, &self.options, &self.proxy, Some(format!("began again: {lost}")))?);
        Ok(())
    }
}

impl ApplicationHandler<Wake> for App {
    fn resumed(&mut self, events: &ActiveEventLoop) {
        if self.live.is_none()
            && let Err(error) = self.open(events)
        {
            self.fail(events, error);
        }
    }

    fn user_event(&mut self, _: &ActiveEventLoop, Wake: Wake) {
        if let Some(live) = &self.live {
            live.window.request_redraw();
        }
    }

    fn new_events(&mut self, events: &ActiveEventLoop, cause: StartCause) {
        if let (StartCause::ResumeTimeReached { .. }, Some(live)) = (cause, &self.live) {
            events.set_control_flow(ControlFlow::Wait);
            live.window.request_redraw();
        }
    }

    fn window_event(&mut self, events: &ActiveEventLoop, _: WindowId, event: WindowEvent) {
        let Some(live) = &mut self.live else { return };
        let asked = live.egui.on_window_event(&live.window, &event).repaint;
        match event {
            WindowEvent::CloseRequested | WindowEvent::Destroyed => events.exit(),
            WindowEvent::RedrawRequested => match live.draw(events) {
                Ok(()) => (),
                Err(lost @ Error::DeviceLost { .. }) => {
                    if let Err(error) = self.reopen(lost) {
                        self.fail(events, error);
                    }
                }
                Err(error) => self.fail(events, error),
            },
            // What was hidden, or has another size, is drawn again, though the training may rest.
            WindowEvent::Resized(_) | WindowEvent::Occluded(false) => live.window.request_redraw(),
            _ if asked => live.window.request_redraw(),
            _ => (),
        }
    }

    fn exiting(&mut self, _: &ActiveEventLoop) {
        // The device goes before the display does.
        self.live = None;
    }
}

/// A window and the training in it. The fields are let go of in this order.
struct Live {
    worker: Worker,
    screen: Screen,
    painter: Painter,
    gpu: Gpu,
    egui: egui_winit::State,
    face: Face,
    scale: Option<f32>,
    window: Arc<Window>,
    born: Instant,
    /// When the last frame was drawn, and the seconds between frames, lately.
    pace: Option<(Instant, f64)>,
}

impl Live {
    fn new(
        window: Arc<Window>,
        options: &Options,
        proxy: &EventLoopProxy<Wake>,
        notice: Option<String>,
    ) -> Result<Live> {
        let surface = surface(&window)?;
        let gpu = Gpu::open(options.device.as_deref(), Some(&surface))?;
        let screen = Screen::new(window.clone(), surface, &gpu)?;
        let painter = Painter::new(&gpu, screen.format());
        let context = egui::Context::default();
        look::apply(&context);
        let most = Some(painter.most_pixels());
        let egui = egui_winit::State::new(context, ViewportId::ROOT, &window, None, None, most);
        let mut face = Face::new(options, &gpu);
        face.notice = notice;
        let (proxy, made, device) = (proxy.clone(), options.clone(), gpu.tensors.clone());
        let wake = move || {
            // Nobody listens only when the window is gone.
            let _ = proxy.send_event(Wake);
        };
        let worker = Worker::start(move || made.mode(&device), options.steps.min(MOST_STEPS), wake);
        window.request_redraw();
        let (born, scale) = (Instant::now(), options.scale);
        Ok(Live { worker, screen, painter, gpu, egui, face, scale, window, born, pace: None })
    }

    fn draw(&mut self, events: &ActiveEventLoop) -> Result<()> {
        let size = <[u32; 2]>::from(self.window.inner_size());
        // Minimised: the training goes on without frames.
        if size.contains(&0) {
            return Ok(());
        }
        let scene = self.worker.latest().transpose()?;
        let context = self.egui.egui_ctx().clone();
        if let Some(scale) = self.scale {
            context.set_zoom_factor(scale / self.window.scale_factor() as f32);
        }
        let input = self.egui.take_egui_input(&self.window);
        let mut wishes = Vec::new();
        let Live { face, painter, .. } = self;
        let mut output = context.run_ui(input, |ui| wishes.extend(face.show(ui, scene.as_deref(), &painter.pictures)));
        self.egui.handle_platform_output(&self.window, std::mem::take(&mut output.platform_output));
        let delay = output.viewport_output.get(&ViewportId::ROOT).map_or(Duration::MAX, |view| view.repaint_delay);
        let frame = self.painter.frame(&context, output, size);
        let shown = self.present(&frame, size);
        let obeyed = wishes.into_iter().try_for_each(|wish| self.obey(wish, &frame, events));
        self.painter.done(frame);
        if shown? {
            self.count();
            self.worker.drawn();
        }
        self.again(events, delay);
        obeyed
    }

    /// Puts a frame on the screen; false when the screen takes none now.
    fn present(&mut self, frame: &Frame, size: [u32; 2]) -> Result<bool> {
        let Some(texture) = self.screen.next(&self.gpu.device, size)? else { return Ok(false) };
        self.painter.draw(frame, &texture.texture.create_view(&Default::default()));
        self.window.pre_present_notify();
        self.gpu.queue.present(texture);
        Ok(true)
    }

    fn obey(&mut self, wish: Wish, frame: &Frame, events: &ActiveEventLoop) -> Result<()> {
        match wish {
            Wish::Command(command) => self.command(command),
            Wish::Picture(path) => self.face.notice = Some(self.picture(frame, &path)?),
            Wish::Quit => events.exit(),
        }
        Ok(())
    }

    fn command(&mut self, command: Command) {
        if matches!(command, Command::Save(_)) {
            self.face.notice = None;
        }
        self.worker.command(command);
    }

    fn picture(&mut self, frame: &Frame, path: &Path) -> Result<String> {
        match self.painter.save(frame, path) {
            Ok(()) => Ok(format!("saved {}", path.display())),
            Err(lost @ Error::DeviceLost { .. }) => Err(lost),
            Err(error) => Ok(format!("not saved: {error}")),
        }
    }

    /// Draws again when egui wants it, for what moves by itself.
    fn again(&self, events: &ActiveEventLoop, delay: Duration) {
        match Instant::now().checked_add(delay) {
            _ if delay.is_zero() => self.window.request_redraw(),
            Some(then) if delay < HOPE => events.set_control_flow(ControlFlow::WaitUntil(then)),
            _ => events.set_control_flow(ControlFlow::Wait),
        }
    }

    fn count(&mut self) {
        let now = Instant::now();
        self.pace = match self.pace {
            None => Some((now, 0.0)),
            Some((before, pace)) => {
                let latest = (now - before).as_secs_f64();
                Some((now, if pace == 0.0 { latest } else { 0.9 * pace + 0.1 * latest }))
            }
        };
        self.face.frames = self.pace.filter(|(_, pace)| *pace > 0.0).map(|(_, pace)| 1.0 / pace);
    }
}
