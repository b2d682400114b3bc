//! What does a window's surface ask for? It is configured anew when its size changes, and made anew when it is lost.

use super::gpu::Gpu;
use std::sync::Arc;
use sunstone::backend::wgpu::instance;
use sunstone::prelude::*;
use wgpu::CurrentSurfaceTexture as Current;
use winit::window::Window;

/// How often a surface is configured again that a submission of the training came in between of.
const ATTEMPTS: usize = 20;

/// A window's surface, as the device draws to it.
pub struct Screen {
    window: Arc<Window>,
    surface: wgpu::Surface<'static>,
    config: wgpu::SurfaceConfiguration,
    /// False until the configuration is the surface's.
    ready: bool,
}

/// A surface of the window, which outlives it.
pub fn surface(window: &Arc<Window>) -> Result<wgpu::Surface<'static>> {
    let unsupported = |what: String| Error::Unsupported { device: "this machine".into(), what };
    let instance = instance().ok_or_else(|| unsupported("any of the APIs that `view` draws with".into()))?;
    instance.create_surface(window.clone()).map_err(|e| unsupported(format!("drawing to a window: {e}")))
}

impl Screen {
    /// For a surface that the device can draw to.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when it cannot.
    pub fn new(window: Arc<Window>, surface: wgpu::Surface<'static>, gpu: &Gpu) -> Result<Screen> {
        let size = window.inner_size();
        let able = surface.get_capabilities(&gpu.adapter);
        let config = surface.get_default_config(&gpu.adapter, size.width.max(1), size.height.max(1));
        let (Some(config), Ok(format)) = (config, egui_wgpu::preferred_framebuffer_format(&able.formats)) else {
            let what = "drawing to this window".into();
            return Err(Error::Unsupported { device: gpu.tensors.name().into(), what });
        };
        // One frame for each refresh of the display: it is on every system, and training gets the time in between.
        let config = wgpu::SurfaceConfiguration { format, present_mode: wgpu::PresentMode::Fifo, ..config };
        Ok(Screen { window, surface, config, ready: false })
    }

    /// What its pixels are made of.
    pub fn format(&self) -> wgpu::TextureFormat {
        self.config.format
    }

    /// The texture of the next frame, of this size; `None` when there is none to be had now.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when a lost surface cannot be made anew.
    pub fn next(&mut self, device: &wgpu::Device, [width, height]: [u32; 2]) -> Result<Option<wgpu::SurfaceTexture>> {
        self.ready &= [self.config.width, self.config.height] == [width, height];
        (self.config.width, self.config.height) = (width, height);
        // The second time, the surface is as the system wants it.
        for _ in 0..2 {
            if !self.ready && !self.configure(device) {
                return Ok(None);
            }
            match self.surface.get_current_texture() {
                Current::Success(texture) => return Ok(Some(texture)),
                // It can be drawn to; the next frame's will be better.
                Current::Suboptimal(texture) => {
                    self.ready = false;
                    return Ok(Some(texture));
                }
                Current::Timeout | Current::Occluded => return Ok(None),
                Current::Outdated | Current::Validation => self.ready = false,
                Current::Lost => {
                    self.surface = surface(&self.window)?;
                    self.ready = false;
                }
            }
        }
        Ok(None)
    }

    /// Waits for the device to be idle, which a submission of the training may come in between of: then it is tried again.
    fn configure(&mut self, device: &wgpu::Device) -> bool {
        self.ready = (0..ATTEMPTS).any(|_| {
            let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
            self.surface.configure(device, &self.config);
            pollster::block_on(scope.pop()).is_none()
        });
        self.ready
    }
}
