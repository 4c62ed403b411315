/**
 * Codes <-> the payloads of packets, of the payload codings 0 (plain) and 1 (varying stages).
 *
 * Codes are an array of channels, each an array of stages, each an Int32Array of frames; -1 where a code is not sent.
 */

import { RangeDecoder } from "./range-decoder.js";
import { FormatError } from "./vq.js";

export const ABSENT = -1;
const WEIGHT = 24;
const MOST = 8192;

/** Codes in which none is sent. */
export function absentCodes(channels, stages, frames) {
  const row = () => new Int32Array(frames).fill(ABSENT);
  return Array.from({ length: channels }, () => Array.from({ length: stages }, row));
}

/** Pack the frames from begin to end plainly. */
export function packPlain(codes, begin, end, bits) {
  const stages = codes[0].length;
  const bytes = new Uint8Array(Math.ceil((codes.length * stages * (end - begin) * bits) / 8));
  let bit = 0;
  for (let stage = 0; stage < stages; stage++) {
    for (const channel of codes) {
      for (let frame = begin; frame < end; frame++) {
        for (let place = bits - 1; place >= 0; place--, bit++) {
          bytes[bit >> 3] |= ((channel[stage][frame] >> place) & 1) << (7 - (bit & 7));
        }
      }
    }
  }
  return bytes;
}

/** The codes of a packet of coding 0. */
export function unpackPlain(payload, { channels, stages, bits }, frames) {
  const counts = Array.from({ length: channels }, () => new Int32Array(frames).fill(stages));
  return unpackCounted(payload, counts, stages, bits);
}

/** The codes of a packet of coding 1. */
export function unpackVarying(payload, { channels, stages, bits }, frames) {
  const length = payload[0] + 256 * payload[1];
  if (!(2 + length <= payload.length)) throw new FormatError("the counts of a packet are longer than the packet");
  const counts = readCounts(payload.subarray(2, 2 + length), channels, stages, frames);
  return unpackCounted(payload.subarray(2 + length), counts, stages, bits);
}

function unpackCounted(bytes, counts, stages, bits) {
  const codes = absentCodes(counts.length, stages, counts[0].length);
  let bit = 0;
  for (let stage = 0; stage < stages; stage++) {
    for (const [channel, row] of counts.entries()) {
      for (let frame = 0; frame < row.length; frame++) {
        if (stage >= row[frame]) continue;
        let code = 0;
        for (let place = 0; place < bits; place++, bit++) code = code * 2 + ((bytes[bit >> 3] >> (7 - (bit & 7))) & 1);
        codes[channel][stage][frame] = code;
      }
    }
  }
  if (Math.ceil(bit / 8) !== bytes.length) throw new FormatError("a packet does not end where its codes do");
  const padding = bit & 7 && bytes[bytes.length - 1] & (0xff >> (bit & 7));
  if (padding) throw new FormatError("the padding of a packet is not zero");
  return codes;
}

function readCounts(bytes, channels, stages, frames) {
  const numbers = [...Array(stages + 1).keys()];
  const weight = (before, number) => 1 + Math.floor(WEIGHT / (1 + Math.abs(before - number)));
  const weights = numbers.map((before) => numbers.map((number) => weight(before, number)));
  const decoder = new RangeDecoder(bytes);
  const counts = Array.from({ length: channels }, () => new Int32Array(frames));
  for (const row of counts) {
    let before = stages;
    for (let frame = 0; frame < frames; frame++) before = row[frame] = nextCount(decoder, weights[before]);
  }
  decoder.finish();
  return counts;
}

/** Decode a count whose weights are these, and let them learn from it. */
function nextCount(decoder, weights) {
  const total = weights.reduce((sum, weight) => sum + weight);
  let below = 0, first = 0, count = 0;
  for (;; count++) {
    below += weights[count];
    const end = Math.floor((below * 65536) / total);
    if (end > decoder.share) {
      decoder.advance(first, end - first);
      break;
    }
    first = end;
  }
  weights[count] += WEIGHT;
  if (total + WEIGHT > MOST) weights.forEach((weight, place) => (weights[place] = Math.floor((weight + 1) / 2)));
  return count;
}
