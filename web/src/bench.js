// The bench tab: the command line's suites in this browser, a table of them while they run, their file, and other people's
// files beside it.
import { $, complain, download, takeFiles } from './app.js';
import { MEGABYTES, duration, key, parse, peaks, rate } from './report.js';

const MOST_COLUMNS = 16;
const TITLES = {
  peak: 'peak: what the device can do at most', matmul: 'matmul: products of matrices', rows: 'rows: folds of rows and columns',
  map: 'map: every element once', conv: 'conv: layers of ResNet-50', attention: 'attention', train: 'train: whole training steps',
};

// What this browser calls itself, and what it runs on.
function browser() {
  const agent = navigator.userAgentData;
  const brands = agent?.brands?.filter((b) => !/not.?a.?brand/i.test(b.brand)) ?? [];
  const own = brands.find((b) => b.brand !== 'Chromium') ?? brands[0];
  if (own) return `${own.brand} ${own.version} on ${agent.platform}`;
  const name = navigator.userAgent.match(/(Firefox|Version)\/[\d.]+/)?.[0]?.replace('Version', 'Safari').replace('/', ' ');
  return `${name ?? 'a browser'} on ${navigator.platform}`;
}

function element(tag, text, name) {
  const made = Object.assign(document.createElement(tag), { textContent: text });
  if (name) made.className = name;
  return made;
}

// One device of a file as a column.
const columns = (report) => report.runs.map(({ device, peak, rows }) => ({
  title: device.name === 'cpu' && device.hardware === 'wasm32' ? 'CPU (WebAssembly)' : device.hardware || device.name,
  about: [`${report.program}, ${device.name}${report.quick ? ', quick' : ''}${device.software ? ', software' : ''}`, report.date.slice(0, 10), peak && peaks(peak) && `at most ${peaks(peak)}`].filter(Boolean),
  rows: new Map(rows.map((r) => [key(r), r])),
}));

export async function startBench(app) {
  const { client, device } = app;
  // The last run's file, and its column while it comes to be.
  let file = null;
  let own = null;
  let others = [];

  // A row of one column, beside the same row of the first.
  function cell(r, first) {
    const td = document.createElement('td');
    if (!r) td.append(element('span', '–', 'more'));
    else if (r.outcome === 'timed') {
      td.append(element('b', duration(r.time.median)));
      if (first?.outcome === 'timed' && first !== r) td.append(element('em', `${(first.time.median / r.time.median).toPrecision(3)}×`));
      const share = r.of_peak === null ? '' : `${(r.of_peak * 100).toFixed(r.of_peak < 0.1 ? 1 : 0)}% of peak`;
      td.append(element('span', [rate(r), share].filter(Boolean).join(' · '), 'more'));
      if (share) {
        td.append(document.createElement('i'));
        td.lastChild.style.setProperty('--p', Math.min(1, r.of_peak));
      }
    } else {
      td.className = r.outcome;
      td.append(element('b', r.outcome === 'wrong' ? '✗ wrong' : 'skipped'), element('span', r.reason, 'more'));
    }
    return td;
  }

  function head(column, i) {
    const th = element('th', '');
    th.scope = 'col';
    th.append(element('b', column.title), ...column.about.map((line) => element('span', line, 'more')));
    if (column === own) return th;
    const away = element('button', 'Remove', 'quiet');
    away.type = 'button';
    away.setAttribute('aria-label', `Remove column ${i + 1}, ${column.title}`);
    away.onclick = () => {
      others = others.filter((other) => other !== column);
      show();
    };
    th.append(away);
    return th;
  }

  function show() {
    const all = own ? [own, ...others] : others;
    const suites = new Map();
    const met = new Set();
    for (const r of all.flatMap((column) => [...column.rows.values()])) {
      if (met.has(key(r))) continue;
      met.add(key(r));
      suites.set(r.suite, [...(suites.get(r.suite) ?? []), r]);
    }
    const line = (...cells) => {
      const tr = document.createElement('tr');
      tr.append(...cells);
      return tr;
    };
    const bodies = [...suites].map(([suite, rows]) => {
      const body = document.createElement('tbody');
      const title = element('th', TITLES[suite] ?? suite);
      title.scope = 'rowgroup';
      title.colSpan = all.length + 1;
      body.append(line(title), ...rows.map((r) => {
        const name = element('th', r.name);
        name.scope = 'row';
        name.append(element('span', r.dtype, 'more'));
        const first = all[0].rows.get(key(r));
        return line(name, ...all.map((column) => cell(column.rows.get(key(r)), first)));
      }));
      return body;
    });
    const table = $('bench-table');
    const kernel = element('th', 'kernel');
    kernel.scope = 'col';
    table.tHead.replaceChildren(all.length ? line(kernel, ...all.map(head)) : '');
    for (const body of [...table.tBodies]) body.remove();
    table.append(...bodies);
    $('bench-legend').hidden = !all.length;
  }

  const status = (text) => ($('bench-status').textContent = text);

  function verdict(rows, asked, since) {
    const count = (outcome) => rows.filter((r) => r.outcome === outcome).length;
    const [timed, skipped, wrong] = ['timed', 'skipped', 'wrong'].map(count);
    const right = wrong ? `${wrong} gave WRONG results` : 'every result checked and right';
    const begin = asked && rows.length < asked ? `Stopped after ${rows.length} of ${asked} rows` : 'Done';
    return `${begin} in ${Math.round((performance.now() - since) / 1000)} s: ${timed} rows timed, ${right}${skipped ? `; ${skipped} skipped, each says why` : ''}.`;
  }

  async function run() {
    const info = app.devices.find((d) => d.name === device()).caps;
    const suite = $('bench-suite').value;
    const since = performance.now();
    let asked = 0;
    const set = (running) => {
      $('bench-run').disabled = $('bench-suite').disabled = running;
      $('bench-stop').hidden = !running;
      $('bench-save').disabled = running || !file;
      $('bench-progress').value = 0;
    };
    file = null;
    [own] = columns({ program: browser(), date: '', quick: true, runs: [{ device: { name: device(), ...info }, rows: [] }] });
    set(true);
    show();
    try {
      const json = await client.call('bench', [device(), suite ? [suite] : [], browser()], ({ start, row }) => {
        if (row) {
          own.rows.set(key(row), row);
          return show();
        }
        asked = start.of;
        $('bench-progress').value = start.place / start.of;
        status(`${start.place + 1} of ${start.of}: ${start.suite}, ${start.name}…`);
      });
      const report = parse(json);
      const { rows } = report.runs[0];
      if (rows.length) file = json;
      // The first rows' shares of the peak are known only now.
      [own] = columns(report);
      status(verdict(rows, asked, since));
    } catch (error) {
      status('');
      complain('bench', error);
    } finally {
      set(false);
      show();
    }
  }

  async function load(files) {
    for (const chosen of files) {
      try {
        const more = columns(parse(await chosen.text()));
        if (others.length + more.length >= MOST_COLUMNS) throw new Error(`${MOST_COLUMNS} devices are all that fit beside each other`);
        others.push(...more);
      } catch (error) {
        complain('bench', new Error(`${chosen.name}: ${error.message}`));
      }
    }
    show();
  }

  $('bench-run').disabled = false;
  $('bench-run').onclick = run;
  $('bench-stop').onclick = () => {
    status('Stopping after this row…');
    client.call('stop', ['bench']);
  };
  $('bench-save').onclick = () => download('sunstone-bench.json', file, 'application/json');
  takeFiles($('bench'), $('bench-files'), MEGABYTES, load);
}
