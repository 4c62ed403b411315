/** Spectrograms: levels of frequencies over time, drawn on a canvas. */

const SIZE = 512;
const RANGE_DB = 80;
const WINDOW = Float32Array.from({ length: SIZE }, (_, place) => 0.5 - 0.5 * Math.cos((2 * Math.PI * place) / SIZE));

/** Draw the levels of samples, the highest RANGE_DB dB of them, low frequencies at the bottom. */
export function draw(canvas, samples) {
  const { width, height } = canvas;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const levels = Array.from({ length: width }, (_, column) => levelsAt(samples, (column * samples.length) / width));
  const highest = levels.reduce((most, column) => Math.max(most, ...column), -100);
  for (let x = 0; x < width; x++) {
    for (let y = 0; y < height; y++) {
      const bin = Math.floor(((height - 1 - y) * SIZE) / 2 / height);
      const share = Math.max(0, 1 + (levels[x][bin] - highest) / RANGE_DB);
      image.data.set(colour(share), 4 * (y * width + x));
    }
  }
  context.putImageData(image, 0, 0);
}

/** Levels in dB of the frequencies around a sample. */
export function levelsAt(samples, centre) {
  const re = new Float32Array(SIZE), im = new Float32Array(SIZE);
  const begin = Math.round(centre) - SIZE / 2;
  for (let place = 0; place < SIZE; place++) re[place] = WINDOW[place] * (samples[begin + place] ?? 0);
  transform(re, im);
  return Array.from({ length: SIZE / 2 }, (_, bin) => 10 * Math.log10(re[bin] ** 2 + im[bin] ** 2 + 1e-10));
}

/** From black by red and pink to white: brightness grows all the way, so that it reads without colour. */
function colour(share) {
  const blue = 0.35 * Math.sin(Math.PI * share) + share ** 3;
  return [1.6 * share, share ** 1.5, blue, 1].map((value) => 255 * Math.min(1, value));
}

/** The discrete Fourier transform in place (Cooley and Tukey 1965). */
function transform(re, im) {
  const size = re.length;
  for (let place = 1, mirror = 0; place < size; place++) {
    let bit = size >> 1;
    for (; mirror & bit; bit >>= 1) mirror ^= bit;
    mirror ^= bit;
    if (place < mirror) [re[place], re[mirror]] = [re[mirror], re[place]];
  }
  for (let span = 1; span < size; span *= 2) {
    for (let turn = 0; turn < span; turn++) {
      const cos = Math.cos((-Math.PI * turn) / span), sin = Math.sin((-Math.PI * turn) / span);
      for (let low = turn; low < size; low += 2 * span) {
        const high = low + span;
        const x = re[high] * cos - im[high] * sin;
        const y = re[high] * sin + im[high] * cos;
        re[high] = re[low] - x;
        im[high] = im[low] - y;
        re[low] += x;
        im[low] += y;
      }
    }
  }
}
