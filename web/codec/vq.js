/** `.vq` files: header and packets <-> bytes, as docs/FORMAT.md describes them. */

import { crc16, crc32 } from "./checksums.js";

const MAGIC = [0x56, 0x51, 0x43];
const MAJOR = 1;
const HEADER_BYTES = 32;
const HEAD_BYTES = 10;
const UNKNOWN_SAMPLES = 2 ** 40 - 1;
const MAX_CODES = 2 ** 21;
const RVQ = 0;
const PLAIN = 0;

/** What is wrong with a file, in words for its owner. */
export class FormatError extends Error {}

/** Write a file of plainly packed packets: header as `read` returns it, packets [{ frames, payload }]. */
export function write(header, packets) {
  const parts = [headerBytes(header), ...packets.map(packetBytes)];
  parts.push(packetBytes({ frames: 0, payload: little(header.numSamples, 5) }));
  return joined(parts);
}

/** Read a file: { header, packets: [{ frames, payload }] }; throws a FormatError for any damage. */
export function read(bytes) {
  const header = readHeader(bytes);
  const packets = [];
  let place = HEADER_BYTES;
  for (;;) {
    if (place + HEAD_BYTES > bytes.length) throw new FormatError("the file ends too early: it has been cut");
    const frames = unsigned(bytes, place, 2);
    const length = unsigned(bytes, place + 2, 4);
    checkLength(header, frames, length);
    const end = place + HEAD_BYTES + length;
    if (end > bytes.length) throw new FormatError("the file ends within a packet: it has been cut");
    const payload = bytes.subarray(place + HEAD_BYTES, end);
    if (crc32(bytes.subarray(place, place + 6), payload) !== unsigned(bytes, place + 6, 4)) {
      throw new FormatError(`packet ${packets.length + 1} is damaged: its checksum is wrong`);
    }
    place = end;
    if (frames === 0) return finished(header, packets, unsigned(payload, 0, 5), place === bytes.length);
    packets.push({ frames, payload });
  }
}

function finished(header, packets, numSamples, atEnd) {
  if (!atEnd) throw new FormatError("there are bytes behind the end of the file");
  if (numSamples === UNKNOWN_SAMPLES || ![null, numSamples].includes(header.numSamples)) {
    throw new FormatError("the end of the file contradicts its header");
  }
  const frames = packets.reduce((sum, packet) => sum + packet.frames, 0);
  const needed = Math.ceil((numSamples * header.sampleRate) / header.sourceRate);
  if (frames * header.hop < needed) throw new FormatError("the file has fewer frames than its samples need");
  return { header: { ...header, numSamples }, packets };
}

function readHeader(bytes) {
  if (!MAGIC.every((byte, place) => bytes[place] === byte)) throw new FormatError("this is not a .vq file");
  if (bytes.length > 3 && bytes[3] !== MAJOR) throw new FormatError(`version ${bytes[3]} of .vq files is unknown here`);
  if (bytes.length < HEADER_BYTES) throw new FormatError("the file ends within its header");
  if (crc16(bytes.subarray(0, 30)) !== unsigned(bytes, 30, 2)) throw new FormatError("the header is damaged");
  if (bytes[5] >> 4 !== RVQ) throw new FormatError("this page reads files of the kind rvq only");
  const numSamples = unsigned(bytes, 25, 5);
  const header = {
    coding: bytes[5] & 15,
    channels: bytes[6],
    stages: bytes[7],
    bits: bytes[8],
    hop: unsigned(bytes, 9, 2),
    fingerprint: hex(bytes.subarray(11, 19)),
    sampleRate: unsigned(bytes, 19, 3),
    sourceRate: unsigned(bytes, 22, 3),
    numSamples: numSamples === UNKNOWN_SAMPLES ? null : numSamples,
  };
  checkRanges(header);
  return header;
}

function checkRanges({ channels, stages, bits, hop, sampleRate, sourceRate }) {
  const fine = channels && stages && bits >= 1 && bits <= 16 && hop && sampleRate
    && sourceRate >= 1000 && sourceRate <= 768000 && sourceRate * channels <= 2 ** 24;
  if (!fine) throw new FormatError("a field of the header is out of its range");
}

function checkLength({ coding, channels, stages, bits }, frames, length) {
  const codes = stages * channels * frames;
  const plain = Math.ceil((codes * bits) / 8);
  const fits = frames === 0 ? length === 5 : coding === PLAIN ? length === plain : length <= 2 * plain + 64;
  if (!fits) throw new FormatError("a packet has an impossible length");
  if (coding !== PLAIN && codes > MAX_CODES) throw new FormatError("a packet has too many codes");
}

function headerBytes({ channels, stages, bits, hop, fingerprint, sampleRate, sourceRate, numSamples }) {
  const start = joined([
    MAGIC, [MAJOR, 0, PLAIN, channels, stages, bits], little(hop, 2), bytesOf(fingerprint),
    little(sampleRate, 3), little(sourceRate, 3), little(numSamples, 5),
  ]);
  return joined([start, little(crc16(start), 2)]);
}

function packetBytes({ frames, payload }) {
  const head = joined([little(frames, 2), little(payload.length, 4)]);
  return joined([head, little(crc32(head, payload), 4), payload]);
}

function little(value, size) {
  return Array.from({ length: size }, (_, place) => Math.floor(value / 256 ** place) % 256);
}

function unsigned(bytes, begin, size) {
  let value = 0;
  for (let place = size - 1; place >= 0; place--) value = value * 256 + bytes[begin + place];
  return value;
}

function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function bytesOf(text) {
  return text.match(/../g).map((pair) => parseInt(pair, 16));
}

function joined(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let place = 0;
  for (const part of parts) {
    whole.set(part, place);
    place += part.length;
  }
  return whole;
}
