//! How does a program draw a tensor with wgpu itself? It opens the device, lends it to Sunstone, and binds the tensor's buffer
//! in its own render pipeline: one device, one queue, no copy. `cargo run --example own_renderer` writes `waves.ppm`.

use sunstone::backend::wgpu::{WgpuBackend, adapter};
use sunstone::prelude::*;

const SIDE: u32 = 512;

/// One triangle covers the target; each pixel is a word of the tensor.
const SHADER: &str = "
@group(0) @binding(0) var<storage, read> heights: array<f32>;

@vertex fn corner(@builtin(vertex_index) i: u32) -> @builtin(position) vec4f {
    return vec4f(f32(i & 1u) * 4.0 - 1.0, f32(i >> 1u) * 4.0 - 1.0, 0.0, 1.0);
}

@fragment fn shade(@builtin(position) at: vec4f) -> @location(0) vec4f {
    let h = heights[u32(at.y) * 512u + u32(at.x)];
    return vec4f(mix(vec3f(0.0, 0.2, 0.4), vec3f(1.0, 0.8, 0.3), 0.5 + 0.5 * h), 1.0);
}";

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    // A program with a window would ask for an adapter that draws to its surface; here any will do.
    let adapter = adapter(0)?;
    let wanted = wgpu::DeviceDescriptor { required_limits: adapter.limits(), ..Default::default() };
    let (device, queue) = pollster::block_on(adapter.request_device(&wanted))?;
    let tensors = Device::new("mine", WgpuBackend::from_device(device.clone(), queue.clone()));

    let axis = Tensor::linspace(-12.0, 12.0, SIDE as usize, DType::F32, &tensors);
    let (x, y) = (axis.reshape([1, -1]), axis.reshape([-1, 1]));
    let far = (x.square() + y.square()).sqrt();
    let heights = (&far * 2.0).sin() / (&far * 0.4 + 1.0);

    // The work is submitted, nothing is waited for: the queue does what comes next after it.
    let lent = heights.gpu_buffer()?;
    assert_eq!(lent.offset(), 0, "what was computed begins where its buffer does");

    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(SHADER.into()),
    });
    let format = wgpu::TextureFormat::Rgba8Unorm;
    let pipeline = device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
        label: None,
        layout: None,
        vertex: wgpu::VertexState {
            module: &module,
            entry_point: None,
            compilation_options: Default::default(),
            buffers: &[],
        },
        primitive: Default::default(),
        depth_stencil: None,
        multisample: Default::default(),
        fragment: Some(wgpu::FragmentState {
            module: &module,
            entry_point: None,
            compilation_options: Default::default(),
            targets: &[Some(format.into())],
        }),
        multiview_mask: None,
        cache: None,
    });
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[wgpu::BindGroupEntry { binding: 0, resource: lent.buffer().as_entire_binding() }],
    });

    let target = device.create_texture(&wgpu::TextureDescriptor {
        label: None,
        size: wgpu::Extent3d { width: SIDE, height: SIDE, depth_or_array_layers: 1 },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format,
        usage: wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC,
        view_formats: &[],
    });
    let view = target.create_view(&Default::default());
    let mut encoder = device.create_command_encoder(&Default::default());
    let mut pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
        color_attachments: &[Some(wgpu::RenderPassColorAttachment {
            view: &view,
            depth_slice: None,
            resolve_target: None,
            ops: Default::default(),
        })],
        ..Default::default()
    });
    pass.set_pipeline(&pipeline);
    pass.set_bind_group(0, &group, &[]);
    pass.draw(0..3, 0..1);
    drop(pass);
    queue.submit([encoder.finish()]);
    // From here on Sunstone may write there again: that comes later in the queue.
    drop(lent);

    let pixels = read(&device, &queue, &target)?;
    let mut picture = format!("P6 {SIDE} {SIDE} 255\n").into_bytes();
    picture.extend(pixels.chunks_exact(4).flat_map(|pixel| &pixel[..3]));
    std::fs::write("waves.ppm", picture)?;
    println!("waves.ppm");
    Ok(())
}

/// Only to show the picture: a program with a window presents the texture instead. Rows of 512 pixels need no padding.
fn read(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    target: &wgpu::Texture,
) -> std::result::Result<Vec<u8>, Box<dyn std::error::Error>> {
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: u64::from(SIDE * SIDE * 4),
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let layout = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(SIDE * 4), rows_per_image: None };
    let mut encoder = device.create_command_encoder(&Default::default());
    encoder.copy_texture_to_buffer(
        target.as_image_copy(),
        wgpu::TexelCopyBufferInfo { buffer: &buffer, layout },
        target.size(),
    );
    queue.submit([encoder.finish()]);
    buffer.map_async(wgpu::MapMode::Read, .., |_| ());
    device.poll(wgpu::PollType::wait_indefinitely())?;
    Ok(buffer.get_mapped_range(..)?.to_vec())
}
