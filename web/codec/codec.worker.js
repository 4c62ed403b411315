/** The codec in a thread of its own: answers { id, task, ... } with { id, share }, { id, result } or { id, error }. */

import { Codec, Decoder, Encoder } from "./codec.js";
import { conceal, lostFrames } from "./loss.js";
import { decode, encode, toFile } from "./sounds.js";
import { read } from "./vq.js";

const MAX_S = 600;

let codec = null;
let live = null;

const TASKS = {
  /** Load the model from a folder. */
  async load({ folder }, report) {
    const names = { encoder: "encoder.onnx", decoder: "decoder.onnx", codes: "codes.safetensors" };
    const files = {};
    for (const [place, [key, name]] of Object.entries(names).entries()) {
      files[key] = await fetched(new URL(name, folder));
      report((place + 1) / 4);
    }
    codec = await Codec.load(files);
    const { name, stages, sampleRate, bits, hop } = codec;
    const bytes = Object.values(files).reduce((sum, file) => sum + file.byteLength, 0);
    return { name, stages, sampleRate, bits, hop, bytes };
  },

  /** Mono samples -> codes and a file. */
  async encode({ samples, stages }, report) {
    checkDuration(samples.length);
    const begin = performance.now();
    const codes = await encode(codec, samples, stages, report);
    return { codes, file: toFile(codec, codes, samples.length), seconds: secondsSince(begin) };
  },

  /** A file -> codes, and the number of samples that they stand for. */
  async open({ file }) {
    const content = read(file);
    const samples = codec.samplesOf(content.header);
    checkDuration(samples * content.header.channels);
    return { codes: codec.unpack(content), samples };
  },

  /** Codes -> the samples of every channel, with frames lost at random. */
  async decode({ codes, samples, loss, method }, report) {
    const begin = performance.now();
    const lost = lostFrames(codes[0][0].length, loss);
    const channels = await decode(codec, conceal(codes, lost, method), samples, report);
    return { channels, lost: lost.filter(Boolean).length, seconds: secondsSince(begin) };
  },

  /** Begin a running signal. */
  async begin({ stages }) {
    live = { encoder: new Encoder(codec, stages), decoder: new Decoder(codec) };
  },

  /** The next frames of the running signal, through codes and back. */
  async push({ samples }) {
    const begin = performance.now();
    const output = await live.decoder.push(await live.encoder.push(samples));
    return { samples: output, seconds: secondsSince(begin) };
  },
};

async function fetched(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url.pathname} cannot be loaded: ${answer.status}`);
  return answer.arrayBuffer();
}

function checkDuration(samples) {
  if (samples > MAX_S * codec.sampleRate) throw new Error(`this page takes sounds of up to ${MAX_S / 60} minutes`);
}

function secondsSince(begin) {
  return (performance.now() - begin) / 1000;
}

let queue = Promise.resolve();

self.onmessage = ({ data: { id, task, ...values } }) => {
  queue = queue.then(async () => {
    try {
      const result = await TASKS[task](values, (share) => self.postMessage({ id, share }));
      self.postMessage({ id, result });
    } catch (error) {
      self.postMessage({ id, error: error.message });
    }
  });
};
