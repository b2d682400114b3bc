// Reads the files that `sunstone bench --json` and this page write. They may come from anyone, so that nothing is taken from
// them unchecked: the rules are those of src/bench/report.rs, in JavaScript because the module is large enough without.

const FORMAT = 'sunstone-bench';
const VERSION = 1;
export const MEGABYTES = 16;
const MOST_RUNS = 64;
// The program reads more; a page would take long to lay them out.
const MOST_ROWS = 2_000;
const MOST_LIMITS = 1_000;
const MOST_TEXT = 400;

const utf8 = new TextEncoder();

const refuse = (detail) => {
  throw new Error(detail);
};

function object(what, x) {
  return x !== null && typeof x === 'object' && !Array.isArray(x) ? x : refuse(`${what} is missing or of another kind`);
}

function list(what, x, most) {
  if (!Array.isArray(x)) refuse(`${what} are missing or no list`);
  return x.length <= most ? x : refuse(`${x.length} ${what}, more than ${most}`);
}

function text(what, x) {
  if (typeof x !== 'string') refuse(`${what} is missing or no text`);
  return utf8.encode(x).length <= MOST_TEXT && !/\p{Cc}/u.test(x) ? x : refuse(`${what} is too long or not printable`);
}

function flag(what, x) {
  return typeof x === 'boolean' ? x : refuse(`${what} is neither true nor false`);
}

function number(what, x, least = 0, most = 1e30) {
  return typeof x === 'number' && x >= least && x <= most ? x : refuse(`${what} is no number between ${least} and ${most}`);
}

const positive = (what, x) => number(what, x, 1e-12);

function whole(what, x) {
  return Number.isInteger(x) ? number(what, x, 0, 2 ** 32 - 1) : refuse(`${what} is no whole number`);
}

const perhaps = (check, what, x) => (x === undefined || x === null ? null : check(what, x));

function device(x) {
  object('a device', x);
  const of = (key) => text(`the device's ${key}`, x[key]);
  for (const dtype of list('dtypes', x.dtypes ?? [], MOST_LIMITS)) text('a dtype', dtype);
  const limits = Object.entries(object('limits', x.limits ?? {}));
  for (const pair of list('limits', limits, MOST_LIMITS)) pair.forEach((word) => text('a limit', word));
  return { name: of('name'), hardware: of('hardware'), driver: of('driver'), backend: of('backend'), machine: of('machine'), software: flag('software', x.software) };
}

function peak(x) {
  const flops = Object.entries(object('flops', object('a peak', x).flops));
  return { bytes: perhaps(positive, 'the peak of memory', x.bytes), flops: list('peaks', flops, MOST_LIMITS).map(([dtype, n]) => [text('a dtype', dtype), positive('a peak', n)]) };
}

function timed(name, x) {
  const { median, q1, q3, best, samples, calls } = object(`${name}: its time`, x.time);
  for (const n of [median, q1, q3, best]) positive(`${name}: a time`, n);
  if (!(best <= q1 && q1 <= median && median <= q3)) refuse(`${name}: its times are out of order`);
  return {
    time: { median, q1, q3, best, samples: whole(`${name}: samples`, samples), calls: whole(`${name}: calls`, calls) },
    host: number(`${name}: host`, x.host),
    device: perhaps(positive, `${name}: device`, x.device),
    kernels: perhaps(number, `${name}: kernels`, x.kernels),
    error: perhaps(number, `${name}: error`, x.error),
    of_peak: perhaps(number, `${name}: of_peak`, x.of_peak),
  };
}

function row(x) {
  object('a row', x);
  const [suite, name, dtype] = ['suite', 'name', 'dtype'].map((key) => text(`a row's ${key}`, x[key]));
  const { flops, bytes, samples = 0 } = object(`${name}: its work`, x.work);
  const work = { flops: number(`${name}: flops`, flops), bytes: number(`${name}: bytes`, bytes), samples: number(`${name}: samples`, samples) };
  const { outcome } = x;
  const what = { suite, name, dtype, work, outcome };
  if (outcome === 'timed') return { ...what, ...timed(name, x) };
  if (outcome === 'skipped' || outcome === 'wrong') return { ...what, reason: text(`${name}: its reason`, x.reason) };
  return refuse(`${name}: neither timed, skipped nor wrong`);
}

// What a file holds, or an error that says why it is none.
export function parse(json) {
  let file;
  try {
    file = JSON.parse(json);
  } catch (error) {
    refuse(`it is not JSON: ${error.message}`);
  }
  const { format, version, program, date, quick, runs } = object('a file of measurements', file);
  if (format !== FORMAT || version !== VERSION) {
    refuse(typeof format === 'string' && Number.isFinite(version) ? `version ${version} of '${format.slice(0, 40)}', not ${VERSION} of '${FORMAT}'` : 'it is no file of measurements');
  }
  return {
    program: text('the program', program),
    date: text('the date', date),
    quick: flag('quick', quick),
    runs: list('devices', runs, MOST_RUNS).map((run) => ({
      device: device(object('a run', run).device),
      peak: peak(run.peak),
      rows: list('rows', run.rows, MOST_ROWS).map(row),
    })),
  };
}

// What a row is known by in every file.
export const key = ({ suite, name, dtype }) => JSON.stringify([suite, name, dtype]);

// Seconds of one call, by the device's own clock where it has one.
const seconds = (r) => r.device ?? r.time.median;

const short = (x) => (x >= 100 ? Math.round(x).toLocaleString('en') : x.toPrecision(3));

// Arithmetic where there is enough of it to be what bounds, else memory; else samples: as the command line has it.
export function rate(r) {
  const { flops, bytes, samples } = r.work;
  if (flops > 4 * bytes) return `${short(flops / seconds(r) / 1e9)} GFLOP/s`;
  if (bytes > 0) return `${short(bytes / seconds(r) / 1e9)} GB/s`;
  return samples > 0 ? `${short(samples / r.time.median)} samples/s` : '';
}

export function duration(s) {
  if (s < 1e-3) return `${short(s * 1e6)} µs`;
  return s < 1 ? `${short(s * 1e3)} ms` : `${short(s)} s`;
}

// The most that a device was seen to do; nothing where no row told.
export function peaks({ bytes, flops }) {
  const all = flops.map(([dtype, n]) => `${short(n / 1e9)} GFLOP/s of ${dtype}`);
  return (bytes ? [`${short(bytes / 1e9)} GB/s`, ...all] : all).join(', ');
}
