/** Waveforms <-> codes, with the networks of an exported model. */

import { ContextModel } from "./context.js";
import { Network } from "./network.js";
import { ABSENT, absentCodes, unpackPlain, unpackVarying } from "./payloads.js";
import { parse } from "./safetensors.js";
import { bookOf, search } from "./search.js";
import { FormatError } from "./vq.js";

const EFFORT = 2;
const CONTEXT = 2; // the last payload coding
const SHORT_FINGERPRINT = 16; // hexadecimal digits

export class Codec {
  /** The three files of an exported model, as ArrayBuffers. */
  static async load({ encoder, decoder, codes }) {
    const model = parse(codes);
    const context = await ContextModel.of(model);
    return new Codec(await Network.load(encoder), await Network.load(decoder), model, context);
  }

  constructor(encoder, decoder, { metadata, tensors }, context) {
    const config = JSON.parse(metadata.config);
    Object.assign(this, { encoder, decoder, context });
    this.name = config.name;
    this.sampleRate = config.sample_rate;
    this.stages = config.num_stages;
    this.codebookSize = config.codebook_size;
    this.dim = config.latent_dim;
    this.bits = Math.ceil(Math.log2(config.codebook_size));
    this.hop = config.mdct_hop * config.stride;
    this.delay = config.mdct_hop + (config.encoder_lookahead + config.decoder_lookahead) * this.hop;
    const all = [metadata.fingerprint, ...JSON.parse(metadata.decodes ?? "[]")];
    this.fingerprints = all.map((fingerprint) => fingerprint.slice(0, SHORT_FINGERPRINT)); // its own comes first
    this.books = Array.from({ length: this.stages }, (_, stage) =>
      bookOf(tensors[`quantizer.codebooks.${stage}.vectors`].values, this.dim),
    );
  }

  /** The number of frames that hold so many samples, the delay included. */
  frames(samples) {
    return Math.ceil((samples + this.delay) / this.hop);
  }

  /** The number of samples of a channel, at the codec's rate, that the header of a file tells. */
  samplesOf({ numSamples, sourceRate }) {
    return Math.ceil((numSamples * this.sampleRate) / sourceRate);
  }

  /** The codes of the packets of a file that `vq.read` returned; throws a FormatError for what cannot be decoded. */
  unpack({ header, packets }) {
    this.#check(header);
    const total = packets.reduce((sum, { frames }) => sum + frames, 0);
    if (total !== this.frames(this.samplesOf(header)) && (total || header.numSamples)) {
      throw new FormatError("the file has another number of frames than its samples take");
    }
    const unpackers = [unpackPlain, unpackVarying, (...packet) => this.context.decode(...packet)];
    const parts = packets.map(({ frames, payload }) => unpackers[header.coding](payload, header, frames));
    const codes = absentCodes(header.channels, header.stages, total);
    codes.forEach((channel, c) => channel.forEach((row, stage) => {
      let place = 0;
      for (const part of parts) {
        row.set(part[c][stage], place);
        place += part[c][stage].length;
      }
      if (row.some((code) => code >= this.codebookSize)) throw new FormatError("a code is beyond the model's codebook");
    }));
    return codes;
  }

  #check({ fingerprint, stages, bits, hop, sampleRate, coding }) {
    if (!this.fingerprints.includes(fingerprint)) {
      throw new FormatError(`the file needs the model ${fingerprint}, and this is ${this.fingerprints[0]}`);
    }
    if (stages > this.stages || bits !== this.bits || hop !== this.hop || sampleRate !== this.sampleRate) {
      throw new FormatError("the header does not fit the model that it names");
    }
    if (coding > CONTEXT) throw new FormatError(`payload coding ${coding} is unknown to this page`);
    if (coding === CONTEXT && !this.context) {
      throw new FormatError("the model has no context model; encode with --rate-mode constant");
    }
  }
}

/** A running signal from samples to codes. */
export class Encoder {
  #codec;
  #books;
  #state;

  constructor(codec, stages) {
    this.#codec = codec;
    this.#books = codec.books.slice(0, stages);
    this.#state = codec.encoder.first();
  }

  /** A whole number of frames of samples -> for each stage an Int32Array of codes. */
  async push(samples) {
    const { dim, hop, encoder } = this.#codec;
    const values = samples.map((value) => Math.min(1, Math.max(-1, value)));
    const { outputs, state } = await encoder.run({ waveform: { values, shape: [1, 1, samples.length] } }, this.#state);
    this.#state = state;
    const frames = samples.length / hop;
    const latents = outputs.latents.data;
    const codes = this.#books.map(() => new Int32Array(frames));
    for (let frame = 0; frame < frames; frame++) {
      const latent = Float32Array.from({ length: dim }, (_, place) => latents[place * frames + frame]);
      search(latent, this.#books, EFFORT).forEach((code, stage) => (codes[stage][frame] = code));
    }
    return codes;
  }
}

/** A running signal from codes to samples, which begins with the model's delay. */
export class Decoder {
  #codec;
  #state;

  constructor(codec) {
    this.#codec = codec;
    this.#state = codec.decoder.first();
  }

  /** For each stage an array of codes -> samples. */
  async push(codes) {
    const { stages, decoder } = this.#codec;
    const frames = codes[0].length;
    const values = new BigInt64Array(stages * frames).fill(BigInt(ABSENT));
    codes.forEach((row, stage) => row.forEach((code, frame) => (values[stage * frames + frame] = BigInt(code))));
    const texture = { values: Float32Array.of(1), shape: [] };
    const inputs = { codes: { values, shape: [1, stages, frames] }, texture };
    const { outputs, state } = await decoder.run(inputs, this.#state);
    this.#state = state;
    return outputs.waveform.data;
  }
}
