/** Codes of packets of payload coding 2, by the context model of docs/CONTEXT.md: whole numbers, exact everywhere. */

import { absentCodes } from "./payloads.js";
import { RangeDecoder } from "./range-decoder.js";
import { FormatError } from "./vq.js";

const MARK_BYTES = 2;
const WIDE = 511;
const NARROW = 127;
const LAST = 311;
const HALF_BITS = 2 ** 20;

/** A context model: its tensors, and its sizes as in the metadata of the model file. */
export class ContextModel {
  /** The context model of a model file that `safetensors.parse` returned; null if it has none. */
  static async of({ metadata, tensors }) {
    if (!metadata.context) return null;
    const model = new ContextModel(tensors, JSON.parse(metadata.context));
    model.mark = (await fingerprintOf(model, tensors)).subarray(0, MARK_BYTES);
    return model;
  }

  constructor(tensors, sizes) {
    this.sizes = sizes;
    this.tensor = (name) => tensors[`context.${name}`].values;
    const scale = 2 ** sizes.vector_shift;
    const whole = (value) => wide(Math.floor(value * scale + 0.5));
    this.vectors = Array.from({ length: sizes.num_stages }, (_, stage) =>
      Int32Array.from(tensors[`quantizer.codebooks.${stage}.vectors`].values, whole),
    );
  }

  /** The codes of a packet. */
  decode(payload, { channels, stages }, frames) {
    if (!this.mark.every((byte, place) => payload[place] === byte)) {
      throw new FormatError("a packet needs another context model");
    }
    const decoder = new RangeDecoder(payload.subarray(MARK_BYTES));
    const codes = absentCodes(channels, stages, frames);
    const signals = codes.map(() => new Signal(this));
    for (let frame = 0; frame < frames; frame++) this.#decodeFrame(decoder, signals, codes, stages, frame);
    decoder.finish();
    return codes;
  }

  #decodeFrame(decoder, signals, codes, stages, frame) {
    const counts = signals.map((signal) => {
      signal.begin();
      const logits = this.countLogits(signal.x).subarray(0, stages + 1);
      return (signal.count = take(decoder, logits, this.tensor("exponentials")));
    });
    for (let stage = 0; stage < Math.max(...counts); stage++) {
      for (const [channel, signal] of signals.entries()) {
        if (counts[channel] <= stage) continue;
        const code = take(decoder, this.stageLogits(stage, signal), this.tensor("exponentials"));
        codes[channel][stage][frame] = code;
        signal.add(stage, code);
      }
    }
  }

  countLogits(x) {
    return this.layer("count.logits", this.layer("count.hidden", x, 0, NARROW));
  }

  stageLogits(stage, { x, count, partial }) {
    const { hidden: size, latent_dim: dim, width, num_stages, codebook_size } = this.sizes;
    const y = product(this.tensor("hidden.weight"), stage * size * width, x, size);
    const before = product(this.tensor("hidden.partial"), stage * size * dim, partial.map(wide), size);
    const table = this.tensor("hidden.table");
    const row = (stage * (num_stages + 1) + count) * size;
    const shift = this.tensor("hidden.shift")[stage];
    const hidden = y.map((value, place) => clip(rounded(value + before[place] + table[row + place], shift), 0, NARROW));
    const bias = this.tensor("logits.bias");
    const logits = product(this.tensor("logits.weight"), stage * codebook_size * size, hidden, codebook_size);
    const last = this.tensor("logits.shift")[stage];
    return logits.map((value, code) => rounded(value + bias[stage * codebook_size + code], last));
  }

  /** A matrix, a bias and a shift; clipped where bounds are given. */
  layer(name, x, low = -Infinity, high = Infinity) {
    const bias = this.tensor(`${name}.bias`);
    const [shift] = this.tensor(`${name}.shift`);
    return product(this.tensor(`${name}.weight`), 0, x, bias.length).map((value, row) =>
      clip(rounded(value + bias[row], shift), low, high),
    );
  }
}

/** One channel: what was sent of the frame before, and the past of every block. */
class Signal {
  #model;
  #histories;

  constructor(model) {
    const { blocks, kernel_size, width, latent_dim, num_stages } = model.sizes;
    this.#model = model;
    this.#histories = Array.from({ length: blocks }, () =>
      Array.from({ length: kernel_size }, () => new Int32Array(width)),
    );
    this.partial = new Int32Array(latent_dim);
    this.head = new Int32Array(latent_dim);
    this.count = num_stages + 1;
  }

  /** Go on to the next frame: x becomes its activations, and nothing of it has been sent. */
  begin() {
    const model = this.#model;
    const { width, latent_dim } = model.sizes;
    const sums = Int32Array.from([...this.partial, ...this.head], wide);
    const table = model.tensor("input.table");
    const [shift] = model.tensor("input.shift");
    this.x = product(model.tensor("input.weight"), 0, sums, width).map((value, row) =>
      wide(rounded(value + table[this.count * width + row], shift)),
    );
    this.#histories.forEach((history, block) => this.#pass(history, `blocks.${block}`));
    this.partial = new Int32Array(latent_dim);
    this.head = new Int32Array(latent_dim);
  }

  /** Note that this code has been sent. */
  add(stage, code) {
    const vectors = this.#model.vectors[stage];
    const dim = this.partial.length;
    for (let place = 0; place < dim; place++) {
      this.partial[place] += vectors[code * dim + place];
      if (stage < 2) this.head[place] = this.partial[place];
    }
  }

  #pass(history, name) {
    const model = this.#model;
    history.shift();
    history.push(this.x);
    const taps = model.tensor(`${name}.depthwise.weight`);
    const [shift] = model.tensor(`${name}.depthwise.shift`);
    const mixed = this.x.map((_, place) => {
      let sum = 0;
      history.forEach((x, tap) => (sum += x[place] * taps[tap * x.length + place]));
      return wide(rounded(sum, shift));
    });
    const contracted = model.layer(`${name}.contract`, model.layer(`${name}.expand`, mixed, 0, NARROW));
    this.x = this.x.map((value, place) => wide(value + contracted[place]));
  }
}

/** Decode a symbol with these logits. */
function take(decoder, logits, exponentials) {
  const size = logits.length;
  let highest = logits[0];
  for (const logit of logits) if (logit > highest) highest = logit;
  const sums = new Float64Array(size + 1);
  for (let symbol = 0; symbol < size; symbol++) {
    sums[symbol + 1] = sums[symbol] + exponentials[Math.min(highest - logits[symbol], LAST)];
  }
  const share = shareOf(sums, size);
  let low = 0, high = size;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (share(middle) <= decoder.share) low = middle;
    else high = middle;
  }
  decoder.advance(share(low), share(high) - share(low));
  return low;
}

/**
 * A function of a symbol j that returns its first share, C(j) = j + floor(E(j) R / 2^40). R and the product have more
 * than 53 bits, so both are computed in halves of 20 bits.
 */
function shareOf(sums, size) {
  const total = sums[size];
  const scaled = (65536 - size) * HALF_BITS;
  const upper = Math.floor(scaled / total);
  const lower = Math.floor(((scaled - upper * total) * HALF_BITS) / total);
  return (symbol) => {
    if (symbol === size) return 65536;
    const sum = sums[symbol];
    return symbol + Math.floor((sum * upper + Math.floor((sum * lower) / HALF_BITS)) / HALF_BITS);
  };
}

/** SHA-256 of all that the payloads depend on. */
async function fingerprintOf({ sizes, vectors }, tensors) {
  const { num_stages, codebook_size, latent_dim } = sizes;
  const all = Int16Array.from(vectors.flatMap((stage) => [...stage]));
  const named = { vectors: { shape: [num_stages, codebook_size, latent_dim], values: all } };
  for (const [name, tensor] of Object.entries(tensors)) {
    if (name.startsWith("context.")) named[name.slice("context.".length)] = tensor;
  }
  const parts = [JSON.stringify(Object.fromEntries(Object.entries(sizes).sort()))];
  for (const name of Object.keys(named).sort()) {
    const { shape, values } = named[name];
    parts.push(`\n${name} ${shape.join(",")}\n`, values);
  }
  return new Uint8Array(await crypto.subtle.digest("SHA-256", await new Blob(parts).arrayBuffer()));
}

function product(weights, begin, x, rows) {
  const y = new Int32Array(rows);
  const columns = x.length;
  for (let row = 0, at = begin; row < rows; row++) {
    let sum = 0;
    for (let column = 0; column < columns; column++, at++) sum += weights[at] * x[column];
    y[row] = sum;
  }
  return y;
}

function rounded(value, shift) {
  return (value + (1 << (shift - 1))) >> shift;
}

function clip(value, low, high) {
  return value < low ? low : value > high ? high : value;
}

function wide(value) {
  return clip(value, -WIDE, WIDE);
}
