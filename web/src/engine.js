// The library behind messages: { id, method, args } in, { id, result | error | event } out. The same code runs in the
// worker and, where a worker has no WebGPU, in the page itself.
import init, * as sunstone from './pkg/sunstone.js';
import { keep } from './store.js';

// How long a training may run before what it has learned is kept, in milliseconds.
const KEEP_EVERY = 15_000;

export function createEngine(post) {
  let ready;
  let session = null;
  let writer = null;
  // How many digits the session's were drawn; a file does not tell.
  let drawn = {};
  const stops = new Map();

  // At most one run of a kind at a time; `stop` ends it.
  async function stoppable(kind, work) {
    const stop = new AbortController();
    stops.set(kind, stop);
    try {
      return await work(stop.signal);
    } finally {
      if (stops.get(kind) === stop) stops.delete(kind);
    }
  }

  const replace = (old, next) => {
    try {
      old?.free();
    } catch {
      // It is still writing; what it holds goes with its last reference.
    }
    return next;
  };

  async function keepNow(kind, from, extra) {
    try {
      const bytes = await from.save();
      await keep(kind, { bytes, when: Date.now(), ...extra });
    } catch (error) {
      // A private window may have no storage; training goes on without.
      console.warn('the model could not be kept:', error);
    }
  }

  async function train(kind, from, emit) {
    let last = performance.now();
    let keeping = Promise.resolve();
    let accuracy;
    const note = () => ({ place: from.place(), accuracy, drawn });
    const done = await stoppable(kind, (signal) => from.run((progress) => {
      accuracy = progress.accuracy ?? accuracy;
      emit(progress);
      if (performance.now() - last > KEEP_EVERY) {
        last = performance.now();
        keeping = keepNow(kind, from, note());
      }
    }, signal));
    await keeping;
    await keepNow(kind, from, note());
    return { done, place: from.place() };
  }

  const methods = {
    gpu: () => Boolean(globalThis.navigator?.gpu),
    version: () => sunstone.version(),
    devices: () => sunstone.devices(),
    stats: async (device) => ({ ...(await sunstone.stats(device)), heap: sunstone.heapBytes() }),
    stop: (kind) => stops.get(kind)?.abort(),
    async 'digits.create'(device, options, files) {
      session = replace(session, await sunstone.DigitsSession.create(device, options, files));
      drawn = { train: options.train, test: options.test };
      return session.place();
    },
    async 'digits.load'(bytes, name, device, options, files) {
      session = replace(session, await sunstone.DigitsSession.load(bytes, name, device, options, files));
      drawn = options;
      return session.place();
    },
    'digits.run': (emit) => train('digits', session, emit),
    'digits.predict': (pixels) => session.predict(pixels),
    'digits.filters': () => session.filters(),
    'digits.accuracy': () => session.accuracy(),
    'digits.test': (i) => session.testImage(i),
    'digits.save': () => session.save(),
    async 'text.create'(device, options, text) {
      writer = replace(writer, await sunstone.TextSession.create(device, options, text));
      return writer.place();
    },
    async 'text.load'(bytes, name, device, text) {
      writer = replace(writer, await sunstone.TextSession.load(bytes, name, device, text));
      return writer.place();
    },
    'text.run': (emit) => train('text', writer, emit),
    'text.write': (emit, options) => stoppable('write', (signal) => writer.write(options, emit, signal)),
    'text.save': () => writer.save(),
    bench: (emit, device, suites, browser) => stoppable('bench', (signal) => sunstone.bench(device, suites, browser, emit, signal)),
  };
  const streams = new Set(['digits.run', 'text.run', 'text.write', 'bench']);

  return async function engine({ id, method, args }) {
    try {
      await (ready ??= init());
      const emit = (event) => post({ id, event });
      const result = await methods[method](...(streams.has(method) ? [emit, ...args] : args));
      post({ id, result });
    } catch (error) {
      post({ id, error: { name: error?.name ?? 'Error', message: error?.message ?? String(error) } });
    }
  };
}
