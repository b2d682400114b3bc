// The three cases in three libraries, each as its own documentation has it. A case gives the milliseconds of its runs.
import { matmulModel } from './onnx.js';

const BATCH = 64;
const numbers = (n) => Float32Array.from({ length: n }, (_, i) => ((i * 7919 + 104729) % 1009) / 504.5 - 1);

globalThis.adapter = async () => {
  const { vendor, architecture, description } = (await navigator.gpu.requestAdapter()).info;
  return [vendor, architecture, description].filter(Boolean).join(' ');
};

// Runs `work` until it is warm, then `runs` times.
async function timed(work, runs, warm = 2) {
  const times = [];
  for (let i = 0; i < warm + runs; i++) {
    const since = performance.now();
    await work();
    if (i >= warm) times.push(performance.now() - since);
  }
  return times;
}

const script = (src) => new Promise((resolve, reject) => {
  document.head.append(Object.assign(document.createElement('script'), { src, onload: resolve, onerror: () => reject(new Error(src)) }));
});

// A product, read back whole.
const wrong = (c, n) => {
  const [a, k] = [numbers(n * n), n >> 1];
  let expected = 0;
  for (let i = 0; i < n; i++) expected += a[k * n + i] * a[i * n + 7];
  return Math.abs(c[k * n + 7] - expected) > 1e-3 * n;
};
const checked = (c, n) => {
  if (wrong(c, n)) throw new Error('the product is wrong');
};

const libraries = {
  async sunstone() {
    const { default: init, DigitsSession, Tensor, op } = await import('./dist/pkg/sunstone.js');
    await init();
    return {
      // The page's own training: SGD with momentum, batches from the host. A report comes every few steps.
      async mlp() {
        const session = await DigitsSession.create('wgpu:0', { model: 'mlp', epochs: 1, batch: BATCH, train: BATCH * 64, test: 10, lr: 0.05 });
        const [stop, marks] = [new AbortController(), []];
        await session.run(({ step, accuracy }) => {
          if (accuracy === undefined) marks.push([performance.now(), step]);
          if (step >= 60) stop.abort();
        }, stop.signal);
        session.free();
        const pairs = marks.slice(3).map(([time, step], i) => [time - marks[i + 2][0], step - marks[i + 2][1]]);
        return pairs.flatMap(([time, steps]) => Array(steps).fill(time / steps));
      },
      async matmul(n) {
        const a = await Tensor.from(numbers(n * n), [n, n], 'wgpu:0');
        return timed(async () => checked(await op('matmul', [a, a])[0].data(), n), 5);
      },
    };
  },
  async tfjs() {
    await script('node_modules/@tensorflow/tfjs/dist/tf.min.js');
    await script('node_modules/@tensorflow/tfjs-backend-webgpu/dist/tf-backend-webgpu.min.js');
    const { tf } = globalThis;
    await tf.setBackend('webgpu');
    await tf.ready();
    return {
      async mlp() {
        const variable = (shape) => tf.variable(tf.randomNormal(shape, 0, 0.05));
        const [w1, b1, w2, b2] = [variable([784, 128]), variable([128]), variable([128, 10]), variable([10])];
        const optimizer = tf.train.sgd(0.05);
        const images = numbers(BATCH * 784);
        const step = () => {
          const x = tf.tensor2d(images, [BATCH, 784]);
          const labels = tf.oneHot(tf.tensor1d(Array.from({ length: BATCH }, (_, i) => i % 10), 'int32'), 10);
          const loss = optimizer.minimize(() => {
            const hidden = tf.relu(tf.add(tf.matMul(x, w1), b1));
            return tf.losses.softmaxCrossEntropy(labels, tf.add(tf.matMul(hidden, w2), b2));
          }, true);
          tf.dispose([x, labels]);
          return loss;
        };
        // The loss is read once every few steps, as Sunstone's is.
        const four = async () => {
          let last;
          for (let i = 0; i < 4; i++) {
            last?.dispose();
            last = step();
          }
          await last.data();
          last.dispose();
        };
        return (await timed(four, 8)).flatMap((t) => Array(4).fill(t / 4));
      },
      async matmul(n) {
        const a = tf.tensor2d(numbers(n * n), [n, n]);
        return timed(async () => {
          const c = tf.matMul(a, a);
          checked(await c.data(), n);
          c.dispose();
        }, 5);
      },
    };
  },
  async onnx() {
    const ort = await import('./node_modules/onnxruntime-web/dist/ort.webgpu.bundle.min.mjs');
    ort.env.wasm.wasmPaths = new URL('node_modules/onnxruntime-web/dist/', location.href).href;
    return {
      // It does not train in a browser.
      mlp: () => null,
      async matmul(n) {
        const session = await ort.InferenceSession.create(matmulModel(n), { executionProviders: ['webgpu'] });
        const device = await ort.env.webgpu.device;
        const buffer = device.createBuffer({ size: n * n * 4, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC });
        device.queue.writeBuffer(buffer, 0, numbers(n * n));
        const a = ort.Tensor.fromGpuBuffer(buffer, { dataType: 'float32', dims: [n, n] });
        const times = await timed(async () => checked((await session.run({ a, b: a })).c.data, n), 5);
        await session.release();
        return times;
      },
    };
  },
};

const open = {};
globalThis.measure = async (library, name) => {
  const cases = await (open[library] ??= libraries[library]());
  const [kind, size] = name.split(' ');
  return cases[kind](Number(size));
};
