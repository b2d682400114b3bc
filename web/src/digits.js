// The digits tab: train, watch, draw, save, load.
import { $, bytesOf, complain, count, dismiss, download, notice, takeFiles } from './app.js';
import { Chart } from './chart.js';
import { Pad } from './pad.js';
import { forget, kept } from './store.js';

const FILE = 'digits.safetensors';
const percent = (v) => `${(100 * v).toFixed(1)}%`;

export async function startDigits({ client, device }) {
  const loss = new Chart($('digits-loss-chart'), { name: 'Loss', min: 0, smooth: 0.1, format: (v) => String(Number(v.toFixed(3))) });
  const right = new Chart($('digits-accuracy-chart'), { name: 'Accuracy', min: 0, max: 1, color: '--neg', dots: true, format: (v) => `${Math.round(100 * v)}%` });
  let files = [];
  let place = null;
  let running = false;

  const status = (text) => ($('digits-status').textContent = text);
  const bars = Array.from({ length: 10 }, (_, digit) => {
    const bar = document.createElement('div');
    bar.className = 'bar';
    bar.innerHTML = `<b>${digit}</b><i></i><span>–</span>`;
    $('bars').append(bar);
    return bar;
  });

  // Only the newest drawing is worth an answer.
  let newest = null;
  let asking = false;
  async function guess(pixels) {
    newest = pixels;
    if (asking) return;
    asking = true;
    try {
      while (place && newest) {
        const asked = newest;
        newest = null;
        show(await client.call('digits.predict', [asked]));
      }
    } catch (error) {
      lost(error);
    } finally {
      asking = false;
    }
  }

  function show(probabilities) {
    const best = probabilities ? probabilities.indexOf(Math.max(...probabilities)) : -1;
    bars.forEach((bar, digit) => {
      const p = probabilities?.[digit] ?? 0;
      bar.style.setProperty('--p', p);
      bar.classList.toggle('best', digit === best);
      bar.querySelector('span').textContent = probabilities ? percent(p) : '–';
    });
    $('guess').textContent = probabilities ? `It looks like a ${best} (${percent(probabilities[best])}).`
      : place ? 'Draw a digit with the mouse, a finger or a pen.' : 'Train or load a network first.';
  }

  let drawn = null;
  const pad = new Pad($('pad'), (pixels) => {
    drawn = pixels;
    if (!pixels) return show(null);
    guess(pixels);
  });
  $('pad-clear').onclick = () => {
    pad.clear();
    drawn = null;
    show(null);
  };
  $('pad-test').onclick = async () => {
    try {
      const image = await client.call('digits.test', [Math.floor(Math.random() * 200)]);
      pad.show(image.slice(0, 784));
    } catch (error) {
      complain('digits', error);
    }
  };

  async function filters() {
    const values = await client.call('digits.filters');
    const side = place.model === 'mlp' ? 28 : 3;
    const n = Math.min(values.length / (side * side), place.model === 'mlp' ? 32 : 16);
    const [columns, cell] = [8, side + 1];
    const rows = Math.ceil(n / columns);
    const canvas = $('filters');
    [canvas.width, canvas.height] = [columns * cell - 1, rows * cell - 1];
    canvas.style.aspectRatio = `${canvas.width} / ${canvas.height}`;
    const g = canvas.getContext('2d');
    const image = g.createImageData(side, side);
    for (let k = 0; k < n; k++) {
      const filter = values.slice(k * side * side, (k + 1) * side * side);
      const most = filter.reduce((m, v) => Math.max(m, Math.abs(v)), 1e-6);
      filter.forEach((v, i) => {
        // Blue counts for, orange against; black and white tell neither apart for a colour-blind eye.
        const t = Math.abs(v) / most;
        const to = v > 0 ? [86, 180, 233] : [213, 94, 0];
        image.data.set([...to.map((c) => Math.round(24 + (c - 24) * t)), 255], 4 * i);
      });
      g.putImageData(image, (k % columns) * cell, Math.floor(k / columns) * cell);
    }
    canvas.setAttribute('aria-label', `${n} filters of the network’s first layer`);
  }

  function buttons() {
    $('digits-train').disabled = running;
    $('digits-stop').hidden = !running;
    $('digits-save').disabled = !place;
    $('digits-load').disabled = running;
    $('pad-test').disabled = !place?.trainable;
    const more = place?.trainable && !place.done && !running;
    $('digits-train').textContent = running ? 'Training…' : more ? 'Train anew' : 'Train';
    goOn.hidden = !more;
  }
  const goOn = Object.assign(document.createElement('button'), { type: 'button', textContent: 'Go on training', hidden: true, id: 'digits-go-on' });
  $('digits-stop').after(goOn);
  goOn.onclick = () => run();

  function fields() {
    const form = new FormData($('digits-form'));
    const number = (name) => Number(form.get(name));
    return {
      model: form.get('model'), epochs: number('epochs'), batch: number('batch'), lr: number('lr'),
      ...toDraw(),
    };
  }

  // How many digits the page draws itself.
  function toDraw() {
    const train = Number($('digits-form').elements.train.value);
    return files.length ? {} : { train, test: Math.min(2000, train) };
  }

  let shownFilters = 0;
  function progress(p) {
    $('digits-step').textContent = `${count(p.step)} / ${count(p.totalSteps)}`;
    const last = p.losses.at(-1)?.[1];
    if (last !== undefined) $('digits-loss').textContent = last.toFixed(3);
    if (p.samplesPerSecond) $('digits-speed').textContent = count(p.samplesPerSecond);
    $('digits-progress').value = p.step / p.totalSteps;
    loss.total = right.total = p.totalSteps;
    loss.add(p.losses);
    if (p.accuracy !== undefined) {
      right.add([[p.step, p.accuracy]]);
      $('digits-accuracy').textContent = percent(p.accuracy);
    }
    status(`Epoch ${Math.min(p.epoch + 1, p.epochs)} of ${p.epochs}`);
    // The bars and filters move along with the training.
    if (performance.now() - shownFilters > 700) {
      shownFilters = performance.now();
      filters().catch(() => {});
      if (drawn) guess(drawn);
    }
  }

  async function run() {
    running = true;
    buttons();
    status('Preparing the kernels for your device…');
    dismiss('digits');
    try {
      const { done, place: now } = await client.call('digits.run', [], progress);
      place = now;
      status(done ? `Done: ${$('digits-accuracy').textContent} of the test images right.` : `Stopped at step ${count(place.step)}.`);
      await filters();
      if (drawn) guess(drawn);
      else show(null);
    } catch (error) {
      lost(error);
    } finally {
      running = false;
      buttons();
    }
  }

  async function train() {
    running = true;
    buttons();
    status('Making the digits…');
    loss.clear();
    right.clear();
    $('digits-accuracy').textContent = '–';
    dismiss('kept');
    try {
      place = await client.call('digits.create', [device(), fields(), files]);
    } catch (error) {
      running = false;
      buttons();
      status('');
      return complain('digits', error);
    }
    await run();
  }

  // An error in a run. What was kept is a way on.
  async function lost(error) {
    status('');
    const record = await kept('digits').catch(() => null);
    const gone = error.name === 'DeviceLostError';
    if (gone) place = null;
    buttons();
    const again = record && gone
      ? ['Go on from there', async () => {
          if (await load({ name: FILE, bytes: record.bytes }, record) && place.trainable && !place.done) await run();
        }]
      : gone ? ['Train anew', train] : undefined;
    complain('digits', error, again);
  }

  // Takes a model; true when it is one. What was kept with it is known of it.
  async function load(file, { accuracy, drawn: asDrawn } = {}) {
    status('Loading…');
    try {
      place = await client.call('digits.load', [file.bytes, file.name, device(), asDrawn ?? toDraw(), files]);
    } catch (error) {
      status('');
      complain('digits', error);
      return false;
    }
    dismiss('digits');
    dismiss('kept');
    if (place.trainable) {
      loss.clear(place.totalSteps);
      right.clear(place.totalSteps);
      $('digits-step').textContent = `${count(place.step)} / ${count(place.totalSteps)}`;
      $('digits-progress').value = place.step / place.totalSteps;
    }
    buttons();
    show(null);
    await filters();
    const found = accuracy ?? await client.call('digits.accuracy');
    $('digits-accuracy').textContent = percent(found);
    status(`Loaded ${file.name}: ${place.model}${place.trainable ? `, epoch ${place.epoch} of ${place.epochs}` : ', to predict with; its training was on other data'}.`);
    if (drawn) guess(drawn);
    return true;
  }

  $('digits-train').onclick = train;
  $('digits-stop').onclick = () => client.call('stop', ['digits']);
  $('digits-save').onclick = async () => {
    try {
      download(FILE, await client.call('digits.save'), 'application/octet-stream');
    } catch (error) {
      lost(error);
    }
  };
  takeFiles($('digits-load-label'), $('digits-load'), 500, async ([file]) => load(await bytesOf(file)));
  takeFiles($('digits-drop'), $('digits-files'), 500, async (chosen) => {
    if (chosen.length === 1 && chosen[0].name.endsWith('.safetensors')) return load(await bytesOf(chosen[0]));
    files = await Promise.all(chosen.map(bytesOf));
    $('digits-source').textContent = `Learns from ${files.map((f) => f.name).join(', ')}.`;
    $('digits-own').hidden = false;
  });
  $('digits-own').onclick = () => {
    files = [];
    $('digits-own').hidden = true;
    $('digits-source').textContent = 'Digits that the page draws itself.';
  };

  show(null);
  buttons();
  status('Ready.');
  const record = await kept('digits').catch(() => null);
  if (record) {
    const { model, epoch, epochs } = record.place;
    const score = record.accuracy ? `, ${percent(record.accuracy)} right` : '';
    notice('kept', `A network trained here before is kept in this browser: ${model}, epoch ${epoch} of ${epochs}${score}.`, [
      ['Load it', () => load({ name: FILE, bytes: record.bytes }, record)],
      ['Forget it', () => forget('digits')],
    ]);
  }
}
