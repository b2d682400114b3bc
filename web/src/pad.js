// A square to draw a digit on, and the 28×28 picture of it as MNIST's are made.
const PEN = 22;

export class Pad {
  constructor(canvas, onChange) {
    this.canvas = canvas;
    this.onChange = onChange;
    this.g = canvas.getContext('2d', { willReadFrequently: true });
    this.at = { x: 140, y: 70 };
    this.down = false;
    this.clear();
    canvas.addEventListener('pointerdown', (e) => {
      canvas.setPointerCapture(e.pointerId);
      this.down = true;
      this.at = this.place(e);
      this.line(this.at, this.at);
    });
    canvas.addEventListener('pointermove', (e) => {
      if (!this.down || !canvas.hasPointerCapture(e.pointerId)) return;
      for (const part of e.getCoalescedEvents?.() ?? [e]) this.to(this.place(part));
    });
    const up = () => (this.down = false);
    canvas.addEventListener('pointerup', up);
    canvas.addEventListener('pointercancel', up);
    canvas.addEventListener('keydown', (e) => this.key(e));
  }

  place(e) {
    const box = this.canvas.getBoundingClientRect();
    return { x: ((e.clientX - box.left) / box.width) * 280, y: ((e.clientY - box.top) / box.height) * 280 };
  }

  key(e) {
    const step = { ArrowLeft: [-10, 0], ArrowRight: [10, 0], ArrowUp: [0, -10], ArrowDown: [0, 10] }[e.key];
    if (step) {
      const clamp = (v) => Math.min(270, Math.max(10, v));
      const to = { x: clamp(this.at.x + step[0]), y: clamp(this.at.y + step[1]) };
      if (this.pen) this.to(to);
      else this.at = to;
    } else if (e.key === ' ') {
      this.pen = !this.pen;
      if (this.pen) this.line(this.at, this.at);
    } else if (e.key === 'Delete' || e.key === 'Backspace') {
      this.clear();
      this.onChange(null);
    } else return;
    e.preventDefault();
  }

  to(place) {
    this.line(this.at, place);
    this.at = place;
  }

  line(from, to) {
    const { g } = this;
    g.strokeStyle = '#fff';
    g.lineWidth = PEN;
    g.lineCap = g.lineJoin = 'round';
    g.beginPath();
    g.moveTo(from.x, from.y);
    g.lineTo(to.x, to.y + 0.01);
    g.stroke();
    this.changed();
  }

  clear() {
    this.g.fillStyle = '#000';
    this.g.fillRect(0, 0, 280, 280);
    this.pen = false;
    this.at = { x: 140, y: 70 };
  }

  changed() {
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = null;
      this.onChange(this.pixels());
    });
  }

  // Shows a picture of 784 grey values.
  show(grey) {
    this.clear();
    const small = new OffscreenCanvas(28, 28);
    const image = new ImageData(28, 28);
    grey.forEach((v, i) => image.data.set([v, v, v, 255], 4 * i));
    small.getContext('2d').putImageData(image, 0, 0);
    this.g.imageSmoothingEnabled = false;
    this.g.drawImage(small, 0, 0, 280, 280);
    this.onChange(grey);
  }

  // What is drawn, scaled to 20 pixels and put where its centre of mass is in the middle; null when there is nothing.
  pixels() {
    const { data } = this.g.getImageData(0, 0, 280, 280);
    let [left, right, top, bottom, mass, mx, my] = [280, -1, 280, -1, 0, 0, 0];
    for (let i = 0; i < 280 * 280; i++) {
      const v = data[4 * i];
      if (!v) continue;
      const [x, y] = [i % 280, (i / 280) | 0];
      left = Math.min(left, x);
      right = Math.max(right, x);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y);
      mass += v;
      mx += v * x;
      my += v * y;
    }
    if (!mass) return null;
    const size = Math.max(right - left, bottom - top) + 1;
    const scale = Math.min(20 / size, 0.2);
    const small = new OffscreenCanvas(28, 28).getContext('2d', { willReadFrequently: true });
    small.fillRect(0, 0, 28, 28);
    small.imageSmoothingQuality = 'high';
    small.setTransform(scale, 0, 0, scale, 14 - (mx / mass) * scale, 14 - (my / mass) * scale);
    small.drawImage(this.canvas, 0, 0);
    const grey = small.getImageData(0, 0, 28, 28).data;
    return Uint8Array.from({ length: 784 }, (_, i) => grey[4 * i]);
  }
}
