// Draws numbers as they lie in a tensor's buffer. A picture is a grid of cells, cut into strips of rows; each strip is a
// buffer of its own and is drawn by itself.

struct Look {
    columns: u32,
    // Rows of the whole picture, the strip's first, and how many it has.
    rows: u32,
    first: u32,
    strip: u32,
    // Words before the first element.
    offset: u32,
    // What the numbers mean; see `Colours`.
    colours: u32,
}

@group(0) @binding(0) var<storage, read> cells: array<f32>;
@group(0) @binding(1) var<uniform> look: Look;

// Whether the target converts from linear light to sRGB.
override linear: bool = false;

struct Corner {
    @builtin(position) position: vec4f,
    // In cells of the strip.
    @location(0) at: vec2f,
}

@vertex
fn corner(@builtin(vertex_index) i: u32) -> Corner {
    let unit = vec2f(f32(i & 1u), f32(i >> 1u));
    let row = (f32(look.first) + unit.y * f32(look.strip)) / f32(look.rows);
    return Corner(vec4f(2.0 * unit.x - 1.0, 1.0 - 2.0 * row, 0.0, 1.0), unit * vec2f(f32(look.columns), f32(look.strip)));
}

const BLUE = vec3f(0.337, 0.706, 0.914);
const ORANGE = vec3f(0.902, 0.624, 0.0);
const DARK = vec3f(0.075, 0.08, 0.095);
const NOTHING = vec3f(0.19, 0.2, 0.22);

fn cell(at: vec2f) -> u32 {
    let last = vec2f(f32(look.columns - 1u), f32(look.strip - 1u));
    let whole = vec2u(clamp(floor(at), vec2f(0.0), last));
    return whole.y * look.columns + whole.x;
}

fn number(i: u32) -> f32 {
    return cells[look.offset + i];
}

// The number between the four cells around a place.
fn between(at: vec2f) -> f32 {
    let corner = floor(at - 0.5);
    let t = at - 0.5 - corner;
    let above = mix(number(cell(corner)), number(cell(corner + vec2f(1.0, 0.0))), t.x);
    let below = mix(number(cell(corner + vec2f(0.0, 1.0))), number(cell(corner + vec2f(1.0, 1.0))), t.x);
    return mix(above, below, t.y);
}

fn signed(x: f32) -> vec3f {
    if x > 1.5 {
        return NOTHING;
    }
    return mix(DARK, select(BLUE, ORANGE, x > 0.0), min(abs(x), 1.0));
}

// From dark blue over green to yellow: brighter is more, for every eye.
fn share(x: f32) -> vec3f {
    let t = clamp(x, 0.0, 1.0);
    let low = mix(DARK, vec3f(0.16, 0.36, 0.55), min(t * 2.5, 1.0));
    let middle = mix(low, vec3f(0.21, 0.72, 0.47), clamp(t * 2.5 - 0.75, 0.0, 1.0));
    return mix(middle, vec3f(0.99, 0.91, 0.30), clamp(t * 2.5 - 1.5, 0.0, 1.0));
}

// `pixel` is its size in cells.
fn classes(at: vec2f, pixel: vec2f) -> vec3f {
    let p = between(at);
    let doubt = 1.0 - abs(2.0 * p - 1.0);
    let side = mix(BLUE, ORANGE, smoothstep(0.35, 0.65, p));
    let ground = mix(side * 0.62, DARK, 0.75 * doubt * doubt);
    // The line where both classes are as likely is two pixels wide at any size. The slope comes from the cells: what lies
    // beyond an edge of a triangle reads nothing, so `fwidth(p)` would be wrong there.
    let right = between(at + vec2f(0.5, 0.0)) - between(at - vec2f(0.5, 0.0));
    let down = between(at + vec2f(0.0, 0.5)) - between(at - vec2f(0.0, 0.5));
    let slope = dot(abs(vec2f(right, down)), pixel);
    let line = 1.0 - smoothstep(0.6, 1.4, abs(p - 0.5) / max(slope, 1e-5));
    return mix(ground, vec3f(1.0), line);
}

fn light(c: vec3f) -> vec3f {
    return select(pow((c + 0.055) / 1.055, vec3f(2.4)), c / 12.92, c <= vec3f(0.04045));
}

@fragment
fn shade(in: Corner) -> @location(0) vec4f {
    let i = cell(in.at);
    let pixel = fwidth(in.at);
    var colour: vec3f;
    switch look.colours {
        case 0u: { colour = vec3f(number(3u * i), number(3u * i + 1u), number(3u * i + 2u)); }
        case 1u: { colour = vec3f(number(i)); }
        case 2u: { colour = signed(number(i)); }
        case 3u: { colour = share(number(i)); }
        default: { colour = classes(in.at, pixel); }
    }
    colour = clamp(colour, vec3f(0.0), vec3f(1.0));
    if linear {
        colour = light(colour);
    }
    return vec4f(colour, 1.0);
}
