/** Whole sounds to codes and `.vq` files, and back, block by block. */

import { Decoder, Encoder } from "./codec.js";
import { absentCodes, packPlain } from "./payloads.js";
import { write } from "./vq.js";

const BLOCK_FRAMES = 50;
const PACKET_S = 5;

/** Mono samples -> codes; `report` is told the share that is done. */
export async function encode(codec, samples, stages, report) {
  const frames = codec.frames(samples.length);
  const padded = new Float32Array(frames * codec.hop);
  padded.set(samples);
  const [codes] = absentCodes(1, stages, frames);
  const encoder = new Encoder(codec, stages);
  for (let begin = 0; begin < frames; begin += BLOCK_FRAMES) {
    const end = Math.min(frames, begin + BLOCK_FRAMES);
    const block = await encoder.push(padded.subarray(begin * codec.hop, end * codec.hop));
    block.forEach((row, stage) => codes[stage].set(row, begin));
    report(end / frames);
  }
  return [codes];
}

/** Codes -> samples of every channel, so many of each. */
export async function decode(codec, codes, length, report) {
  const channels = [];
  for (const [place, channel] of codes.entries()) {
    channels.push(await decodeChannel(codec, channel, length, (share) => report((place + share) / codes.length)));
  }
  return channels;
}

async function decodeChannel(codec, codes, length, report) {
  const frames = codes[0].length;
  const samples = new Float32Array(frames * codec.hop);
  const decoder = new Decoder(codec);
  for (let begin = 0; begin < frames; begin += BLOCK_FRAMES) {
    const end = Math.min(frames, begin + BLOCK_FRAMES);
    samples.set(await decoder.push(codes.map((row) => row.subarray(begin, end))), begin * codec.hop);
    report(end / frames);
  }
  return samples.slice(codec.delay, codec.delay + length);
}

/** The bytes of a `.vq` file of codes that stand for so many samples. */
export function toFile(codec, codes, numSamples) {
  const { bits, hop, sampleRate, fingerprints: [fingerprint] } = codec;
  const sizes = { channels: codes.length, stages: codes[0].length, bits, hop };
  const header = { ...sizes, fingerprint, sampleRate, sourceRate: sampleRate, numSamples };
  const frames = numSamples ? codes[0][0].length : 0;
  const each = (PACKET_S * sampleRate) / hop;
  const packets = [];
  for (let begin = 0; begin < frames; begin += each) {
    const end = Math.min(frames, begin + each);
    packets.push({ frames: end - begin, payload: packPlain(codes, begin, end, bits) });
  }
  return write(header, packets);
}
