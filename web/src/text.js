// The text tab: train a small GPT on the user's text, and watch it write.
import { $, bytesOf, complain, count, dismiss, download, notice, takeFiles } from './app.js';
import { Chart } from './chart.js';
import { SAMPLE } from './sample.js';
import { forget, kept } from './store.js';

const FILE = 'text.safetensors';

export async function startText({ client, device }) {
  const chart = new Chart($('text-loss-chart'), { name: 'Loss', min: 0, smooth: 0.1, format: (v) => String(Number(v.toFixed(3))) });
  const corpus = $('corpus');
  let place = null;
  let running = false;
  let writing = false;

  const status = (text) => ($('text-status').textContent = text);
  const size = () => {
    const n = [...corpus.value].length;
    $('corpus-size').textContent = `${count(n)} characters, ${new Set(corpus.value).size} different ones. More text makes a better writer.`;
  };
  corpus.value = SAMPLE;
  corpus.oninput = size;
  size();
  takeFiles(corpus, null, 20, async ([file]) => {
    corpus.value = await file.text();
    size();
  });
  $('temperature').oninput = () => ($('temperature-value').textContent = Number($('temperature').value).toFixed(2));

  const goOn = Object.assign(document.createElement('button'), { type: 'button', textContent: 'Go on training', hidden: true, id: 'text-go-on' });
  $('text-stop').after(goOn);
  function buttons() {
    const more = place?.trainable && !place.done && !running;
    $('text-train').disabled = running;
    $('text-train').textContent = running ? 'Training…' : more ? 'Train anew' : 'Train';
    $('text-stop').hidden = !running;
    goOn.hidden = !more;
    $('text-save').disabled = !place;
    $('text-load').disabled = running;
    $('text-write').disabled = !place || writing;
    $('text-write-stop').hidden = !writing;
  }

  function progress(p) {
    $('text-step').textContent = `${count(p.step)} / ${count(p.totalSteps)}`;
    const last = p.losses.at(-1)?.[1];
    if (last !== undefined) $('text-loss').textContent = last.toFixed(3);
    if (p.tokensPerSecond) $('text-speed').textContent = count(p.tokensPerSecond);
    $('text-progress').value = p.step / p.totalSteps;
    chart.total = p.totalSteps;
    chart.add(p.losses);
    status('Training…');
  }

  async function lost(error) {
    status('');
    const gone = error.name === 'DeviceLostError';
    const record = gone ? await kept('text').catch(() => null) : null;
    if (gone) place = null;
    buttons();
    const again = record ? ['Go on from there', async () => {
      if (await load({ name: FILE, bytes: record.bytes }) && place.trainable && !place.done) await run();
    }] : gone ? ['Train anew', train] : undefined;
    complain('text', error, again);
  }

  async function run() {
    running = true;
    buttons();
    status('Preparing the kernels for your device…');
    dismiss('text');
    try {
      const { done, place: now } = await client.call('text.run', [], progress);
      place = now;
      status(done ? 'Done. Let it write.' : `Stopped at step ${count(place.step)}.`);
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
    const form = new FormData($('text-form'));
    const number = (name) => Number(form.get(name));
    const options = { layers: number('layers'), width: number('width'), heads: 4, context: number('context'), batch: number('batch'), steps: number('steps') };
    chart.clear(options.steps);
    try {
      place = await client.call('text.create', [device(), options, corpus.value]);
    } catch (error) {
      running = false;
      buttons();
      return complain('text', error);
    }
    await run();
  }

  async function load(file) {
    try {
      place = await client.call('text.load', [file.bytes, file.name, device(), corpus.value]);
    } catch (error) {
      complain('text', error);
      return false;
    }
    dismiss('text');
    dismiss('kept-text');
    buttons();
    status(`Loaded ${file.name}: ${place.layers} layers, ${[...place.vocabulary].length} characters${place.trainable ? `, step ${count(place.step)} of ${count(place.totalSteps)}` : '; it was trained on another text, so it writes only'}.`);
    return true;
  }

  $('text-train').onclick = train;
  goOn.onclick = run;
  $('text-stop').onclick = () => client.call('stop', ['text']);
  $('text-save').onclick = async () => {
    try {
      download(FILE, await client.call('text.save'), 'application/octet-stream');
    } catch (error) {
      lost(error);
    }
  };
  takeFiles($('text-load-label'), $('text-load'), 500, async ([file]) => load(await bytesOf(file)));

  $('text-write').onclick = async () => {
    writing = true;
    buttons();
    const sample = $('sample');
    const prompt = $('prompt').value;
    sample.textContent = prompt;
    const options = { prompt, characters: 400, temperature: Number($('temperature').value), seed: Math.floor(Math.random() * 2 ** 31) };
    try {
      await client.call('text.write', [options], (character) => {
        sample.append(character);
        sample.scrollTop = sample.scrollHeight;
      });
    } catch (error) {
      if (error.name === 'DeviceLostError') lost(error);
      else complain('text', error);
    } finally {
      writing = false;
      buttons();
    }
  };
  $('text-write-stop').onclick = () => client.call('stop', ['write']);

  buttons();
  status('Ready.');
  const record = await kept('text').catch(() => null);
  if (record) {
    notice('kept-text', `A text network trained here before is kept in this browser: step ${count(record.place.step)} of ${count(record.place.totalSteps)}.`, [
      ['Load it', () => load({ name: FILE, bytes: record.bytes })],
      ['Forget it', () => forget('text')],
    ]);
  }
}
