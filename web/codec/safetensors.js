/** Reads safetensors files: the metadata, and tensors of the types that vqcodec's models have. */

const READERS = {
  F16: (buffer) => Float32Array.from(new Uint16Array(buffer), halfToFloat),
  F32: (buffer) => new Float32Array(buffer),
  I8: (buffer) => new Int8Array(buffer),
  I32: (buffer) => new Int32Array(buffer),
};

/** The tensors of a file, { name: { shape, values } }, and its metadata; float16 comes as float32. */
export function parse(buffer) {
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const entries = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const metadata = entries.__metadata__ ?? {};
  delete entries.__metadata__;
  const tensors = {};
  for (const [name, { dtype, shape, data_offsets: [begin, end] }] of Object.entries(entries)) {
    if (!(dtype in READERS)) throw new Error(`the tensor ${name} is of the type ${dtype}`);
    tensors[name] = { shape, values: READERS[dtype](buffer.slice(8 + length + begin, 8 + length + end)) };
  }
  return { metadata, tensors };
}

function halfToFloat(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}
