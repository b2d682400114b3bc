// The page: finds the devices, wires the tabs, and tells the user what goes on.
import { connect } from './client.js';
import { startDigits } from './digits.js';
import { startText } from './text.js';
import { startBench } from './bench.js';

export const $ = (id) => document.getElementById(id);

// A message with ways on: [label, action] pairs. `key` replaces an older one of the same kind.
export function notice(key, text, actions = [], bad = false) {
  dismiss(key);
  const box = document.createElement('div');
  box.className = bad ? 'notice bad' : 'notice';
  box.dataset.key = key;
  const words = document.createElement('p');
  words.textContent = text;
  const buttons = document.createElement('div');
  for (const [label, action] of [...actions, ['Close', () => {}]]) {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'quiet';
    button.textContent = label;
    button.onclick = () => {
      box.remove();
      action();
    };
    buttons.append(button);
  }
  box.append(words, buttons);
  $('notices').append(box);
}

export function dismiss(key) {
  for (const box of $('notices').children) if (box.dataset.key === key) box.remove();
}

// What went wrong, and what the user can do about it.
export function complain(key, error, again) {
  const ways = again ? [again] : [];
  const text = {
    DeviceLostError: `The GPU was lost (${error.message}). What had been learned is kept up to the last mark.`,
    OutOfMemoryError: `There is not enough memory: ${error.message}. A smaller batch or network needs less; the CPU may have more.`,
    NotFiniteError: error.message,
  }[error.name] ?? error.message;
  notice(key, text, ways, true);
}

export function download(name, data, type) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([data], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export const bytesOf = async (file) => ({ name: file.name, bytes: new Uint8Array(await file.arrayBuffer()) });

// Files dropped on `target`, or chosen with `input`, go to `take`, unless one is larger than anything useful.
export function takeFiles(target, input, megabytes, take) {
  const offer = (list) => {
    const files = [...list];
    const large = files.find((file) => file.size > megabytes * 1e6);
    if (large) complain('files', new Error(`${large.name} has ${count(large.size / 1e6)} MB; no more than ${megabytes} MB are read here.`));
    else if (files.length) take(files).catch((error) => complain('files', error));
  };
  const off = () => target.classList.remove('dropping');
  target.addEventListener('dragover', (e) => {
    e.preventDefault();
    target.classList.add('dropping');
  });
  target.addEventListener('dragleave', off);
  target.addEventListener('drop', (e) => {
    e.preventDefault();
    off();
    offer(e.dataTransfer.files);
  });
  input?.addEventListener('change', () => {
    offer(input.files);
    input.value = '';
  });
}

export const count = (n) => Math.round(n).toLocaleString('en');

function tabs() {
  const all = [...document.querySelectorAll('[role=tab]')];
  const show = (tab, focus) => {
    for (const other of all) {
      const on = other === tab;
      other.setAttribute('aria-selected', on);
      other.tabIndex = on ? 0 : -1;
      $(other.getAttribute('aria-controls')).hidden = !on;
    }
    if (focus) tab.focus();
    history.replaceState(null, '', `#${tab.getAttribute('aria-controls')}`);
  };
  for (const tab of all) {
    tab.onclick = () => show(tab, false);
    tab.onkeydown = (e) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
      if (!step) return;
      show(all[(all.indexOf(tab) + step + all.length) % all.length], true);
    };
  }
  const asked = all.find((tab) => `#${tab.getAttribute('aria-controls')}` === location.hash);
  if (asked) show(asked, false);
}

const label = (device) => {
  if (device.name === 'cpu') return 'CPU (WebAssembly, SIMD)';
  const hardware = device.caps.hardware || 'GPU';
  return `WebGPU: ${hardware}${device.caps.software ? ' (software)' : ''}`;
};

// The GPU, unless it is a CPU that pretends to be one: then the CPU itself is faster.
function choose(devices) {
  const gpu = devices.find((d) => d.name !== 'cpu' && d.caps);
  const select = $('device');
  select.replaceChildren(...devices.filter((d) => d.caps).map((d) => new Option(label(d), d.name)));
  const asked = new URLSearchParams(location.search).get('device');
  const best = gpu && !gpu.caps.software ? gpu.name : 'cpu';
  select.value = devices.some((d) => d.caps && d.name === asked) ? asked : best;
  select.disabled = false;
  const failed = devices.find((d) => d.error);
  if (!gpu) {
    const why = navigator.gpu ? failed?.error ?? 'no adapter' : 'this browser has no navigator.gpu';
    notice('no-gpu', `No WebGPU here (${why}). Everything runs on the CPU, in WebAssembly with SIMD.`);
  }
}

async function start() {
  tabs();
  const client = await connect();
  const app = { client, device: () => $('device').value, devices: [] };
  app.devices = await client.call('devices');
  choose(app.devices);
  $('footer').textContent += ` Version ${await client.call('version')}; it runs ${
    client.where === 'worker' ? 'in a worker' : 'in the page itself'}.`;
  await Promise.all([startDigits(app), startText(app), startBench(app)]);
  document.documentElement.dataset.ready = 'true';
}

// A file dropped beside its place would replace the page, and all that was learned with it.
for (const type of ['dragover', 'drop']) window.addEventListener(type, (e) => e.preventDefault());

start().catch((error) => {
  $('digits-status').textContent = '';
  const old = typeof WebAssembly === 'undefined' || /simd|CompileError/i.test(`${error.name} ${error.message}`);
  notice('start', `The library did not start: ${error.message}${old ? '. A newer browser may help.' : ''}`,
    [['Try again', () => location.reload()]], true);
});
