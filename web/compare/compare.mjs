// Runs page.js for each library in turn, several rounds, so that a busy machine disturbs all of them alike.
import { createServer } from 'node:http';
import { readFile, writeFile } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { dirname, extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';

const here = dirname(fileURLToPath(import.meta.url));
const { values: asked } = parseArgs({ options: { json: { type: 'string' }, rounds: { type: 'string', default: '3' }, only: { type: 'string', default: '' } } });
const LIBRARIES = ['sunstone', 'tfjs', 'onnx'];
const CASES = ['mlp', 'matmul 512', 'matmul 1024'].filter((name) => name.includes(asked.only));
const FLAGS = ['--headless=new', '--no-sandbox', '--enable-unsafe-webgpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const TYPES = { '.js': 'text/javascript', '.mjs': 'text/javascript', '.wasm': 'application/wasm', '.html': 'text/html' };

// The page's files, the peers' from node_modules, and Sunstone's from web/dist, isolated as `sunstone web` serves them.
const server = createServer(async (request, response) => {
  const path = normalize(new URL(request.url, 'http://x').pathname);
  const file = path === '/' ? join(here, 'index.html') : path.startsWith('/dist/') ? join(here, '..', path) : join(here, path);
  try {
    const body = await readFile(file);
    response.writeHead(200, { 'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream',
      'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' });
    response.end(body);
  } catch {
    response.writeHead(404).end();
  }
});
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const url = `http://127.0.0.1:${server.address().port}/`;
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: FLAGS, ignoreDefaultArgs: ['--headless'] });

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];
const times = {};
let about;
for (let round = 0; round < Number(asked.rounds); round++) {
  for (const library of LIBRARIES) {
    const page = await browser.newPage();
    page.on('pageerror', (e) => console.error(`${library}: ${e.message}`));
    await page.goto(url);
    about ??= await page.evaluate(() => globalThis.adapter());
    for (const name of CASES) {
      const found = await page.evaluate(([library, name]) => globalThis.measure(library, name), [library, name]);
      console.error(`round ${round + 1}: ${library}, ${name}: ${found ? `${median(found).toFixed(1)} ms` : 'cannot'}`);
      ((times[name] ??= {})[library] ??= []).push(...(found ?? []));
    }
    await page.close();
  }
}
const version = (name) => JSON.parse(readFileSync(join(here, 'node_modules', name, 'package.json'))).version;
const versions = {
  sunstone: JSON.parse(readFileSync(join(here, '../dist/pkg/package.json'))).version,
  tfjs: version('@tensorflow/tfjs'), onnx: version('onnxruntime-web'), chromium: browser.version(),
};
await browser.close();
server.close();

const show = (v) => (v === undefined ? '–' : v.toFixed(1)).padStart(12);
console.log(`${about}; ${Object.entries(versions).map((pair) => pair.join(' ')).join(', ')}`);
console.log(`${'median ms'.padEnd(14)}${LIBRARIES.map((l) => l.padStart(12)).join('')}${'ratio'.padStart(12)}`);
for (const name of CASES) {
  const [own, ...peers] = LIBRARIES.map((l) => (times[name][l].length ? median(times[name][l]) : undefined));
  const ratio = own / Math.min(...peers.filter((v) => v !== undefined));
  console.log(`${name.padEnd(14)}${[own, ...peers].map(show).join('')}${ratio.toFixed(2).padStart(12)}`);
}
if (asked.json) await writeFile(asked.json, JSON.stringify({ about, versions, times }, null, 2));
