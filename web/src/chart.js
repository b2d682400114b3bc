// A line chart on a canvas: axes with round numbers, sharp on any screen, drawn at most once a frame.
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export class Chart {
  constructor(canvas, { color = '--pos', min, max, format = (v) => String(v), smooth = 0, dots = false, name }) {
    Object.assign(this, { canvas, color, min, max, format, smooth, dots, name });
    this.points = [];
    this.total = 0;
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.draw());
  }

  clear(total = 0) {
    this.points = [];
    this.total = total;
    this.draw();
  }

  add(points) {
    this.points.push(...points);
    // More points than pixels only cost time.
    if (this.points.length > 4000) this.points = this.points.filter((_, i) => i % 2 === 0 || i > 3900);
    this.draw();
  }

  draw() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.paint();
    });
  }

  paint() {
    const { canvas, points } = this;
    const ratio = devicePixelRatio || 1;
    const [w, h] = [canvas.clientWidth, canvas.clientHeight];
    if (!w || !h) return;
    canvas.width = Math.round(w * ratio);
    canvas.height = Math.round(h * ratio);
    const g = canvas.getContext('2d');
    g.scale(ratio, ratio);
    const [left, right, top, bottom] = [44, w - 10, 8, h - 20];
    const ys = points.map((p) => p[1]).filter(Number.isFinite);
    const low = this.min ?? Math.min(...ys, 0);
    let high = this.max ?? Math.max(...ys, low + 1e-6);
    if (!ys.length) high = this.max ?? 1;
    const last = Math.max(this.total, points.at(-1)?.[0] ?? 1, 1);
    const x = (v) => left + (v / last) * (right - left);
    const y = (v) => bottom - ((v - low) / (high - low || 1)) * (bottom - top);
    g.font = '11px system-ui, sans-serif';
    g.strokeStyle = css('--line');
    g.fillStyle = css('--soft');
    g.lineWidth = 1;
    g.textAlign = 'right';
    g.textBaseline = 'middle';
    for (const v of ticks(low, high, 4)) {
      g.beginPath();
      g.moveTo(left, Math.round(y(v)) + 0.5);
      g.lineTo(right, Math.round(y(v)) + 0.5);
      g.stroke();
      g.fillText(this.format(v), left - 6, y(v));
    }
    g.textBaseline = 'alphabetic';
    // Before a training there are no steps to count.
    for (const v of points.length || this.total ? ticks(0, last, 4) : []) {
      g.textAlign = v === 0 ? 'left' : x(v) > right - 20 ? 'right' : 'center';
      g.fillText(v.toLocaleString('en'), x(v), h - 5);
    }
    if (!points.length) {
      this.describe('nothing yet');
      return;
    }
    const line = (values, width, alpha) => {
      g.globalAlpha = alpha;
      g.strokeStyle = css(this.color);
      g.lineWidth = width;
      g.lineJoin = 'round';
      g.beginPath();
      values.forEach((v, i) => g[i ? 'lineTo' : 'moveTo'](x(v[0]), y(Math.min(Math.max(v[1], low), high))));
      g.stroke();
      g.globalAlpha = 1;
    };
    if (this.smooth) {
      let mean = points[0][1];
      const smoothed = points.map(([s, v]) => [s, (mean += (v - mean) * this.smooth)]);
      line(points, 1, 0.3);
      line(smoothed, 2, 1);
    } else line(points, 2, 1);
    if (this.dots) {
      g.fillStyle = css(this.color);
      for (const [s, v] of points) {
        g.beginPath();
        g.arc(x(s), y(v), 3.5, 0, 7);
        g.fill();
      }
    }
    const [step, value] = points.at(-1);
    this.describe(`${points.length} points, the last ${this.format(value)} at ${step}`);
  }

  describe(text) {
    this.canvas.setAttribute('aria-label', `${this.name}: ${text}`);
  }
}

function ticks(low, high, count) {
  const raw = (high - low) / count;
  if (!(raw > 0)) return [low];
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((k) => k * unit).find((s) => s >= raw);
  const values = [];
  for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + step * 1e-6; v += step) values.push(Number(v.toPrecision(6)));
  return values;
}
