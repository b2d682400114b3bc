// Drives the page as a user would, in headless Chromium. Each part is a function below; a part that throws has failed.
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const sunstone = process.env.SUNSTONE ?? join(root, 'target/debug/sunstone');
const shots = process.env.SHOTS;
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const folder = mkdtempSync(join(tmpdir(), 'sunstone-web-'));
const FLAGS = ['--headless=new', '--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const GPU = '--enable-unsafe-webgpu';
// A busy machine needs patience.
const LONG = { timeout: Number(process.env.PATIENCE ?? 240) * 1000 };

const assert = (truth, message) => {
  if (!truth) throw new Error(message);
};
const launch = (flags) => chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: [...FLAGS, ...flags], ignoreDefaultArgs: ['--headless'] });

// A server on a free port; resolves to its address.
function serve() {
  const server = spawn(sunstone, ['web', '--port', '0', '--dir', join(root, 'web/dist')], { stdio: ['ignore', 'pipe', 'inherit'] });
  return new Promise((resolve, reject) => {
    server.on('error', reject);
    server.stdout.on('data', (text) => resolve({ server, url: String(text).match(/http:\S+/)[0] }));
  });
}

let gpu, plain, url;
const errors = [];
let pages = [];

// A page of its own storage, ready to use. Every console error counts against the tests.
async function open(query = '', { browser = gpu, context, prepare, hash = '' } = {}) {
  const own = context ?? (await browser.newContext({ acceptDownloads: true }));
  const page = await own.newPage();
  pages.push(page);
  page.setDefaultTimeout(LONG.timeout);
  page.on('console', (m) => m.type() === 'error' && errors.push(`${query}: ${m.text()}`));
  page.on('pageerror', (e) => errors.push(`${query}: ${e.message}`));
  await prepare?.(page);
  await page.goto(`${url}${query}${hash}`);
  await page.waitForSelector('html[data-ready]', { state: 'attached', ...LONG });
  return page;
}

const percent = async (page, id) => parseFloat(await page.textContent(id));
const notice = (page, text) => page.waitForSelector(`.notice:has-text("${text}")`, LONG);

// What a page says when a part has failed.
const told = () => [...document.querySelectorAll('.status, .notice p')].map((e) => e.textContent).filter(Boolean).join(' | ');

async function train(page, { model = 'mlp', epochs = 2, images = '3000' } = {}) {
  await page.selectOption('[name=model]', model);
  await page.fill('[name=epochs]', String(epochs));
  await page.selectOption('[name=train]', images);
  await page.click('#digits-train');
}

async function stop(page) {
  await page.click('#digits-stop');
  await page.waitForFunction(() => /^Stopped/.test(document.querySelector('#digits-status').textContent), null, LONG);
}

// The step at which a training was stopped.
const reached = async (page) => Number((await page.textContent('#digits-status')).replace(/\D/g, ''));

const done = (page) => page.waitForFunction(() => /^Done/.test(document.querySelector('#digits-status').textContent), null, LONG);

async function save(page, button) {
  const [file] = await Promise.all([page.waitForEvent('download'), page.click(button)]);
  const path = join(folder, `${Math.random().toString(36).slice(2)}-${file.suggestedFilename()}`);
  await file.saveAs(path);
  return path;
}

// Strokes of a digit through points in a square of side 1.
const DIGITS = { 0: [Array.from({ length: 25 }, (_, i) => [0.5 - 0.22 * Math.sin(i / 3.8), 0.5 - 0.32 * Math.cos(i / 3.8)])], 1: [[[0.5, 0.18], [0.5, 0.82]]], 7: [[[0.28, 0.22], [0.7, 0.22], [0.45, 0.82]]] };

async function draw(page, digit) {
  await page.click('#pad-clear');
  await page.locator('#pad').scrollIntoViewIfNeeded();
  const box = await page.locator('#pad').boundingBox();
  for (const stroke of DIGITS[digit]) {
    const at = ([x, y]) => [box.x + x * box.width, box.y + y * box.height];
    await page.mouse.move(...at(stroke[0]));
    await page.mouse.down();
    for (const point of stroke.slice(1)) await page.mouse.move(...at(point), { steps: 4 });
    await page.mouse.up();
  }
  await page.waitForFunction(() => /looks like/.test(document.querySelector('#guess').textContent), null, LONG);
  await page.waitForTimeout(700);
  return (await page.textContent('#guess')).match(/a (\d)/)[1];
}

// 188 steps. Times are told and not judged: the machine may be busy.
async function learns(page, least) {
  const since = Date.now();
  await train(page, { epochs: 1, images: '12000' });
  await page.waitForFunction(() => document.querySelector('#digits-loss').textContent !== '–', null, LONG);
  const first = Date.now() - since;
  const paint = await page.evaluate(() => Math.round(performance.getEntriesByName('first-contentful-paint')[0].startTime));
  await done(page);
  const right = await percent(page, '#digits-accuracy');
  assert(right >= least, `${right}% of the test images are right, not ${least}%`);
  const found = [];
  for (const digit of Object.keys(DIGITS)) found.push([digit, await draw(page, digit)]);
  assert(found.every(([a, b]) => a === b), `drawn and taken for: ${JSON.stringify(found)}`);
  return `${right}% right, first paint after ${paint} ms, first loss ${first} ms after the click, ${await page.textContent('#digits-speed')} samples/s, all drawn digits read`;
}

// What a package in the page predicts for test images, from a file.
const predict = (page, path, device) =>
  page.evaluate(async ([bytes, device]) => {
    const { default: init, DigitsSession } = await import('./pkg/sunstone.js');
    await init();
    const session = await DigitsSession.load(new Uint8Array(bytes), 'test', device);
    const all = [];
    const data = await DigitsSession.create('cpu', { model: 'mlp', train: 64, test: 2000 });
    for (let i = 0; i < 20; i++) all.push([...(await session.predict(data.testImage(i).slice(0, 784)))]);
    return all;
  }, [[...readFileSync(path)], device]);

// The native library's own predictions for the same file must agree.
function exchange(path, predictions) {
  const json = join(folder, 'predictions.json');
  writeFileSync(json, JSON.stringify(predictions));
  execFileSync('cargo', ['test', '--quiet', '--test', 'exchange', '--features', process.env.SUNSTONE_FEATURES ?? ''], { cwd: root, env: { ...process.env, SUNSTONE_WEB_FILE: path, SUNSTONE_WEB_PREDICTIONS: json }, stdio: ['ignore', 'pipe', 'inherit'] });
}

const parts = {
  async 'digits on the CPU'() {
    const page = await open('?device=cpu');
    const result = await learns(page, 95);
    const path = await save(page, '#digits-save');
    exchange(path, await predict(page, path, 'cpu'));
    if (shots) await page.screenshot({ path: join(shots, 'digits-trained.png'), fullPage: true });
    return `${result}; its file predicts the same natively`;
  },
  async 'digits on WebGPU'() {
    const page = await open('?device=wgpu:0');
    const result = await learns(page, 95);
    const path = await save(page, '#digits-save');
    exchange(path, await predict(page, path, 'wgpu:0'));
    return `${await page.locator('#device option:checked').textContent()}: ${result}; its file predicts the same natively`;
  },
  async 'the least that a browser offers'() {
    // WebGPU's default limits and no optional feature, whatever is asked for.
    const least = '{ const p = GPUAdapter.prototype, ask = p.requestDevice; p.requestDevice = function () { return ask.call(this); }; }\n';
    let patched = 0;
    const prepare = (page) => page.route('**/worker.js', async (route) => {
      const response = await route.fetch();
      patched += 1;
      await route.fulfill({ response, body: least + (await response.text()) });
    });
    const page = await open('?device=wgpu:0', { prepare });
    assert(patched, 'the worker was not loaded through the test');
    const result = await learns(page, 95);
    const path = await save(page, '#digits-save');
    exchange(path, await predict(page, path, 'wgpu:0'));
    return `default limits: ${result}`;
  },
  async 'a file of the command line'() {
    const path = join(folder, 'cli.safetensors');
    execFileSync(sunstone, ['train', 'digits', '--model', 'mlp', '--epochs', '1', '--device', 'cpu', '--json', '--save', path]);
    const page = await open('?device=cpu');
    await page.setInputFiles('#digits-load', path);
    await page.waitForFunction(() => /^Loaded/.test(document.querySelector('#digits-status').textContent), null, LONG);
    for (const device of ['cpu', 'wgpu:0']) exchange(path, await predict(page, path, device));
    return `${await percent(page, '#digits-accuracy')}% right, the same predictions on CPU and WebGPU`;
  },
  async 'stop, go on, reload'() {
    const context = await gpu.newContext({ acceptDownloads: true });
    const page = await open('?device=cpu', { context });
    await train(page, { epochs: 40 });
    await page.waitForFunction(() => document.querySelector('#digits-accuracy').textContent !== '–', null, LONG);
    await stop(page);
    const at = await reached(page);
    await page.click('#digits-go-on');
    await page.waitForFunction((at) => parseInt(document.querySelector('#digits-step').textContent.replace(/,/g, '')) > at, at, LONG);
    await stop(page);
    await page.close();
    const again = await open('?device=cpu', { context });
    await notice(again, 'is kept in this browser');
    await again.click('.notice button:has-text("Load it")');
    await again.waitForFunction(() => /^Loaded/.test(document.querySelector('#digits-status').textContent), null, LONG);
    return `stopped at step ${at}, went on, and was there after the page was closed`;
  },
  async 'the device is lost'() {
    const page = await open('?page&device=wgpu:0', {
      prepare: (page) => page.addInitScript(() => {
        const request = GPUAdapter.prototype.requestDevice;
        window.gpuDevices = [];
        GPUAdapter.prototype.requestDevice = async function (...args) {
          const device = await request.apply(this, args);
          window.gpuDevices.push(device);
          return device;
        };
      }),
    });
    // More epochs than any machine gets through before the device is gone.
    await train(page, { epochs: 1000 });
    await page.waitForFunction(() => document.querySelector('#digits-accuracy').textContent !== '–', null, LONG);
    await stop(page);
    await page.click('#digits-go-on');
    await page.waitForTimeout(500);
    await page.evaluate(() => window.gpuDevices.at(-1).destroy());
    await notice(page, 'The GPU was lost');
    await page.click('.notice button:has-text("Go on from there")');
    // It says the epoch after its first steps only.
    await page.waitForFunction(() => /^Epoch/.test(document.querySelector('#digits-status').textContent), null, LONG);
    await stop(page);
    return `told, went on, and stopped at step ${await reached(page)}`;
  },
  async 'wrong files'() {
    const page = await open('?device=cpu');
    const bad = join(folder, 'bad.safetensors');
    writeFileSync(bad, 'this is no model');
    await page.setInputFiles('#digits-load', bad);
    await notice(page, 'bad.safetensors');
    const text = await page.textContent('.notice.bad p');
    const pictures = join(folder, 'train-images-idx3-ubyte');
    writeFileSync(pictures, 'this is no array');
    await page.setInputFiles('#digits-files', pictures);
    await page.click('#digits-train');
    await notice(page, 'no idx file');
    return text;
  },
  async 'no WebGPU'() {
    const page = await open('', { browser: plain });
    await notice(page, 'No WebGPU here');
    await train(page, { epochs: 1 });
    await done(page);
    return `${await page.textContent('.notice p')} ${await percent(page, '#digits-accuracy')}%`;
  },
  async 'two tabs'() {
    const context = await gpu.newContext({ acceptDownloads: true });
    const pages = [await open('?device=cpu', { context }), await open('?device=cpu', { context })];
    await Promise.all(pages.map((page) => train(page, { epochs: 1 })));
    await Promise.all(pages.map(done));
    return `${await percent(pages[0], '#digits-accuracy')}% and ${await percent(pages[1], '#digits-accuracy')}%`;
  },
  async text() {
    const page = await open('?device=cpu', { hash: '#text' });
    await page.fill('#text-form [name=steps]', '60');
    await page.selectOption('#text-form [name=width]', '64');
    await page.click('#text-train');
    await page.waitForFunction(() => document.querySelector('#text-loss').textContent !== '–', null, LONG);
    const first = await percent(page, '#text-loss');
    await page.waitForFunction(() => /^Done/.test(document.querySelector('#text-status').textContent), null, LONG);
    const last = await percent(page, '#text-loss');
    assert(last < 0.85 * first, `the loss fell from ${first} to ${last} only`);
    await page.click('#text-write');
    await page.waitForFunction(() => document.querySelector('#sample').textContent.length > 200, null, LONG);
    if (shots) await page.screenshot({ path: join(shots, 'text-trained.png'), fullPage: true });
    return `loss ${first} to ${last}, ${await page.textContent('#text-speed')} tokens/s; wrote 200 characters`;
  },
  async bench() {
    const page = await open('?device=cpu', { hash: '#bench' });
    const status = () => page.textContent('#bench-status');
    const says = (start) => page.waitForFunction((start) => document.querySelector('#bench-status').textContent.startsWith(start), start, LONG);
    const columns = (count) => page.waitForFunction((count) => document.querySelectorAll('#bench-table thead th').length === count, count + 1, LONG);
    const read = async () => {
      const path = await save(page, '#bench-save');
      return [path, JSON.parse(readFileSync(path))];
    };
    // Stopped, it keeps what it has.
    await page.click('#bench-run');
    await page.waitForFunction(() => document.querySelectorAll('#bench-table th[scope=row]').length >= 2, null, LONG);
    await page.click('#bench-stop');
    await says('Stopped');
    const stopped = (await status()).split(':')[0];
    const [, part] = await read();
    assert(part.runs[0].rows.length >= 2 && part.runs[0].rows.every((r) => r.suite === 'peak'), 'it did not stop within the first suite');
    // A whole run, and its file beside it.
    await page.click('#bench-run');
    await says('Done');
    assert(/every result checked and right/.test(await status()), await status());
    const [path, file] = await read();
    const { rows, device, peak } = file.runs[0];
    const timed = rows.filter((r) => r.outcome === 'timed');
    assert(file.format === 'sunstone-bench' && file.version === 1 && file.quick && device.name === 'cpu', 'the file is not what it should be');
    assert(rows.every((r) => r.outcome !== 'wrong') && timed.length > 20 && peak.bytes > 0, `of ${rows.length} rows ${timed.length} were timed`);
    assert(timed.some((r) => r.of_peak > 0) && (await page.locator('#bench-table td i').count()) > 10, 'the shares of the peak are missing');
    await page.setInputFiles('#bench-files', path);
    await columns(2);
    assert(await page.locator('#bench-table tr:has(td)').evaluateAll((lines) => lines.every((tr) => tr.querySelectorAll('td').length === 2)), 'a row without both columns');
    assert(!(await page.locator('#bench-table td.wrong').count()), 'a row is shown as wrong');
    // The command line reads it, and the page what that writes.
    const theirs = join(folder, 'theirs.json');
    execFileSync(sunstone, ['bench', 'peak', '--quick', '--device', 'cpu', '--json', theirs]);
    const compared = execFileSync(sunstone, ['bench', 'compare', path, theirs], { encoding: 'utf8' });
    assert(/\[1\] sunstone .* in .* on wasm32/.test(compared) && /\[2\]: .* times as fast as \[1\]/.test(compared), compared);
    await page.setInputFiles('#bench-files', theirs);
    await columns(3);
    for (const [width, height] of [[1280, 800], [390, 844]]) {
      await page.setViewportSize({ width, height });
      if (shots) await page.screenshot({ path: join(shots, `bench-run-${width}.png`), fullPage: true });
      assert(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `the table makes the page wider than ${width}`);
    }
    await page.evaluate(AXE);
    const { violations } = await page.evaluate(() => axe.run());
    assert(!violations.length, JSON.stringify(violations.map((v) => [v.id, v.nodes.map((n) => n.target)])));
    // Files that cannot be, by what is said of them.
    const texts = { 'not JSON': '{', 'no file of measurements': '{}' };
    const spoil = (says, f) => {
      const copy = structuredClone(file);
      f(copy, copy.runs[0]);
      texts[says] = JSON.stringify(copy);
    };
    spoil('version 2', (f) => (f.version = 2));
    spoil('devices, more than 64', (f) => (f.runs = Array(65).fill({})));
    spoil('rows, more than 2000', (f, run) => (run.rows = Array(2001).fill({})));
    spoil('too long or not printable', (f) => (f.program = 'x\u001b[2J'));
    spoil('is no number between', (f, run) => (run.rows = [{ ...timed[0], work: { flops: -1, bytes: 0 } }]));
    spoil('out of order', (f, run) => (run.rows = [{ ...timed[0], time: { ...timed[0].time, q3: 1e-9 } }]));
    spoil('neither timed, skipped nor wrong', (f, run) => (run.rows = [{ ...timed[0], outcome: '<b>' }]));
    spoil('a peak is missing', (f, run) => (run.peak = 'high'));
    spoil('are all that fit', (f, run) => (f.runs = Array(16).fill(run)));
    for (const [says, text] of Object.entries(texts)) {
      const bad = join(folder, 'bad.json');
      writeFileSync(bad, text);
      await page.setInputFiles('#bench-files', bad);
      await notice(page, says);
      assert(/^bad\.json: /.test(await page.textContent('.notice.bad p')), 'it does not say which file');
    }
    await columns(3);
    await page.click('#bench-table thead button >> nth=0');
    await columns(2);
    return `${stopped}; ${await status()} ${JSON.stringify(peak)}`;
  },
  async 'memory and long tasks'() {
    const page = await open('?device=cpu', {
      prepare: (page) => page.addInitScript(() => {
        window.longest = 0;
        new PerformanceObserver((list) => list.getEntries().forEach((e) => (window.longest = Math.max(window.longest, e.duration)))).observe({ type: 'longtask', buffered: true });
      }),
    });
    // The longest that loading took does not count.
    await page.evaluate(() => (window.longest = 0));
    await train(page, { epochs: 1 });
    await done(page);
    const longest = await page.evaluate(() => window.longest);
    const found = await page.evaluate(async () => {
      const sunstone = await import('./pkg/sunstone.js');
      await sunstone.default();
      const out = {};
      for (const device of ['cpu', 'wgpu:0']) {
        const session = await sunstone.DigitsSession.create(device, { model: 'mlp', epochs: 400, train: 640, test: 100, batch: 8 });
        const stop = new AbortController();
        const held = async () => [(await sunstone.stats(device)).bytes_reserved, sunstone.heapBytes()];
        // How many losses a look reads follows the device's speed, and each number has a plan with memory of its own: memory is
        // watched for 1,500 steps from the 500th on, from where all numbers have come up before.
        let [warm, last] = [null, 0];
        const numbers = new Set();
        await session.run(({ step, losses }) => {
          last = step;
          if (!numbers.has(losses.length)) warm = null;
          numbers.add(losses.length);
          if (step > 500 && !warm) warm = { step, held: held() };
          if (warm && step >= warm.step + 1500) stop.abort();
        }, stop.signal);
        out[device] = [[warm.step, ...(await warm.held)], [last, ...(await held())]];
      }
      return out;
    });
    for (const [device, [[first, a, heap], [last, b, later]]] of Object.entries(found)) {
      assert(last - first >= 1500, `${device}: never warm: ${JSON.stringify(found[device])}`);
      assert(a === b && heap === later, `${device}: memory grows: ${JSON.stringify(found[device])}`);
    }
    return `constant: ${JSON.stringify(found)}; longest task on the main thread while training: ${Math.round(longest)} ms`;
  },
  async looks() {
    const wrong = [];
    for (const scheme of ['light', 'dark']) {
      for (const [width, height] of [[1280, 800], [390, 844]]) {
        const context = await gpu.newContext({ colorScheme: scheme, viewport: { width, height } });
        for (const tab of ['digits', 'text', 'bench']) {
          const page = await open('', { context, hash: `#${tab}` });
          if (shots) await page.screenshot({ path: join(shots, `${tab}-${width}-${scheme}.png`), fullPage: true });
          const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
          if (wide) wrong.push(`${tab} ${width}: wider than the screen`);
          await page.evaluate(AXE);
          const { violations } = await page.evaluate(() => axe.run());
          for (const v of violations) wrong.push(`${tab} ${width} ${scheme}: ${v.id}: ${v.nodes.map((n) => n.target).join(' ')}`);
          await page.close();
        }
        await context.close();
      }
    }
    assert(!wrong.length, wrong.join('\n'));
    return 'no violation of axe-core’s rules, nothing wider than the screen, in light and dark, at 1280 and 390 pixels';
  },
  async golden() {
    const page = await open('?device=cpu', {
      prepare: (page) => page.route('**/golden/*', (route) => route.fulfill({ path: join(root, 'target/web-golden', route.request().url().split('/').pop()) })),
    });
    const told = [];
    const failed = [];
    for (const device of ['cpu', 'wgpu:0', 'default']) {
      const since = Date.now();
      const text = await page.evaluate(async ([device, only]) => {
        const golden = await import('./golden/golden.js');
        await golden.default();
        return golden.golden(device, only);
      }, [device, process.env.ONLY ?? '']);
      const { cases, passed, lacking, failures, device: about } = JSON.parse(text);
      told.push(`${device} (${about}): ${passed} of ${cases} pass, the device lacks the dtype of ${JSON.stringify(lacking)}, ${failures.length} fail, ${Math.round((Date.now() - since) / 1000)} s`);
      failed.push(...failures.map((f) => `${device}: ${f}`));
    }
    console.log(told.join('\n'));
    assert(!failed.length, `${failed.length} golden cases fail:\n${failed.slice(0, 30).join('\n')}`);
    return told.join('; ');
  },
};

const asked = process.argv.slice(2);
if (asked.includes('--list')) {
  console.log(Object.keys(parts).join('\n'));
  process.exit(0);
}
if (shots) mkdirSync(shots, { recursive: true });
const wasm = readFileSync(join(root, 'web/dist/pkg/sunstone_bg.wasm'));
console.log(`module: ${wasm.length} bytes, ${gzipSync(wasm, { level: 9 }).length} with gzip`);
[gpu, plain] = await Promise.all([launch([GPU]), launch([])]);
const running = process.env.SUNSTONE_URL ? { url: process.env.SUNSTONE_URL } : await serve();
url = running.url;
let failures = 0;
for (const [name, part] of Object.entries(parts)) {
  if (asked.length && !asked.some((a) => name.includes(a))) continue;
  const since = Date.now();
  errors.length = 0;
  try {
    const result = await part();
    assert(!errors.length, `the console has errors:\n${errors.join('\n')}`);
    console.log(`ok   ${name} (${((Date.now() - since) / 1000).toFixed(1)} s): ${result}`);
  } catch (error) {
    failures += 1;
    console.log(`FAIL ${name}: ${error.message}\n${errors.join('\n')}`);
    for (const page of pages.filter((p) => !p.isClosed())) console.log(await page.evaluate(told).catch(() => 'a page that does not answer'));
  }
  await Promise.all(pages.map((page) => page.close().catch(() => {})));
  pages = [];
}
await Promise.all([gpu.close(), plain.close()]);
running.server?.kill();
console.log(failures ? `${failures} parts failed` : 'all parts passed');
process.exit(failures ? 1 : 0);
