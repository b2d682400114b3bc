// The bench tab: run the suite, show it, save it, and lay other people's results beside it.
import { $, complain, download, takeFiles } from './app.js';

const FORMAT = 'sunstone-bench-1';

function browser() {
  const brands = navigator.userAgentData?.brands?.filter((b) => !/not.?a.?brand/i.test(b.brand)) ?? [];
  const own = brands.find((b) => b.brand !== 'Chromium') ?? brands[0];
  if (own) return `${own.brand} ${own.version} on ${navigator.userAgentData.platform}`;
  return navigator.userAgent.match(/(Firefox|Version)\/[\d.]+/)?.[0]?.replace('Version', 'Safari').replace('/', ' ') ?? navigator.userAgent;
}

// The result that a file holds, or an error that says why it is none.
export function parse(name, text) {
  let run;
  try {
    run = JSON.parse(text);
  } catch {
    throw new Error(`${name} is not JSON`);
  }
  const fits = run?.format === FORMAT && typeof run.hardware === 'string' && typeof run.browser === 'string' && Array.isArray(run.rows)
    && run.rows.every((r) => typeof r.name === 'string' && Number.isFinite(r.value) && typeof r.unit === 'string');
  if (!fits) throw new Error(`${name} is not a result of this benchmark`);
  return run;
}

const figure = (v) => (v >= 100 ? Math.round(v).toLocaleString('en') : v.toPrecision(3));

export async function startBench(app) {
  const { client, device } = app;
  let own = null;
  const others = [];

  const title = (run) => `${run.hardware}, ${run.browser}`;
  function show() {
    const runs = [own, ...others].filter(Boolean);
    const names = [...new Map(runs.flatMap((run) => run.rows.map((r) => [r.name, r.unit])))];
    const row = (run, name) => run.rows.find((r) => r.name === name);
    const cell = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });
    const line = (cells) => {
      const tr = document.createElement('tr');
      tr.append(...cells);
      return tr;
    };
    const heads = [cell('th', 'kernel'), cell('th', 'unit'), ...runs.map((run) => cell('th', title(run)))];
    heads.forEach((th) => (th.scope = 'col'));
    $('bench-table').tHead.replaceChildren(runs.length ? line(heads) : '');
    $('bench-table').tBodies[0].replaceChildren(...names.map(([name, unit]) => line([cell('td', name), cell('td', unit),
      ...runs.map((run) => {
        const r = row(run, name);
        return cell('td', r ? `${figure(r.value)}${r.correct ? '' : ' ✗ wrong'}` : '–');
      })])));
    $('bench-chart').replaceChildren(...names.map(([name, unit]) => {
      const group = document.createElement('div');
      group.append(cell('h3', `${name}, ${unit}`));
      const most = Math.max(...runs.map((run) => row(run, name)?.value ?? 0));
      for (const run of runs) {
        const r = row(run, name);
        if (!r) continue;
        const bar = document.createElement('div');
        bar.className = run === own ? 'row' : 'row other';
        bar.append(cell('span', run.hardware), document.createElement('i'), cell('span', figure(r.value)));
        bar.children[1].style.setProperty('--p', r.value / most);
        group.append(bar);
      }
      return group;
    }));
  }

  $('bench-run').disabled = false;
  $('bench-run').onclick = async () => {
    const info = app.devices.find((d) => d.name === device()).caps;
    own = { format: FORMAT, version: await client.call('version'), date: new Date().toISOString(), browser: browser(),
      device: device(), hardware: device() === 'cpu' ? 'CPU, WebAssembly' : info.hardware || 'GPU', driver: info.driver, software: info.software, rows: [] };
    const set = (running) => {
      $('bench-run').disabled = running;
      $('bench-stop').hidden = !running;
      $('bench-save').disabled = running || !own.rows.length;
    };
    set(true);
    $('bench-status').textContent = `Measuring ${own.hardware} in ${own.browser}…`;
    try {
      await client.call('bench', [device()], (r) => {
        own.rows.push(r);
        $('bench-status').textContent = `Measured ${r.name} on ${own.hardware}…`;
        show();
      });
      const wrong = own.rows.filter((r) => !r.correct).length;
      $('bench-status').textContent = `${own.hardware} in ${own.browser}: ${own.rows.length} kernels measured, ${wrong ? `${wrong} gave WRONG results` : 'every result checked and right'}.`;
    } catch (error) {
      $('bench-status').textContent = '';
      complain('bench', error);
    } finally {
      set(false);
    }
  };
  $('bench-stop').onclick = () => client.call('stop', ['bench']);
  $('bench-save').onclick = () => download('sunstone-bench.json', JSON.stringify(own, null, 2), 'application/json');
  takeFiles($('bench'), $('bench-files'), 1, async (files) => {
    for (const file of files) {
      try {
        others.push(parse(file.name, await file.text()));
      } catch (error) {
        complain('bench', error);
      }
    }
    show();
  });
}
