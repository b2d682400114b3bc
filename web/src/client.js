// The page's end of the engine: a worker if it can do all that the page can, else the page itself.
import { createEngine } from './engine.js';

class Client {
  #post;
  #next = 1;
  #open = new Map();

  constructor(post, where) {
    this.#post = post;
    this.where = where;
  }

  // Calls a method of the engine; `onEvent` sees what it reports on the way.
  call(method, args = [], onEvent = () => {}) {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#open.set(id, { resolve, reject, onEvent });
      this.#post({ id, method, args });
    });
  }

  receive({ id, result, error, event }) {
    const call = this.#open.get(id);
    if (!call) return;
    if (event !== undefined) return call.onEvent(event);
    this.#open.delete(id);
    if (error) call.reject(Object.assign(new Error(error.message), { name: error.name }));
    else call.resolve(result);
  }

  // Everything under way fails: the engine is gone.
  fail(message) {
    for (const { reject } of this.#open.values()) reject(new Error(message));
    this.#open.clear();
  }
}

function inPage() {
  let client;
  const engine = createEngine((message) => client.receive(message));
  client = new Client((message) => queueMicrotask(() => engine(message)), 'page');
  return client;
}

function inWorker() {
  const worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
  const client = new Client((message) => worker.postMessage(message), 'worker');
  worker.onmessage = ({ data }) => client.receive(data);
  worker.onerror = (event) => {
    event.preventDefault();
    client.fail(event.message || 'the worker could not start');
  };
  return client;
}

export async function connect() {
  if (new URLSearchParams(location.search).has('page')) return inPage();
  try {
    const client = inWorker();
    const gpu = await client.call('gpu');
    // Some browsers give WebGPU to pages only.
    return navigator.gpu && !gpu ? inPage() : client;
  } catch {
    return inPage();
  }
}
