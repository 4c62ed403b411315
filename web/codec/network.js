/** Graphs that carry their state from block to block, on onnxruntime-web in one thread of WebAssembly. */

import * as ort from "../vendor/ort.wasm.bundle.min.mjs";

ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = { wasm: new URL("../vendor/ort-wasm-simd-threaded.wasm", import.meta.url).href };
ort.env.logLevel = "error";

const ERRORS = 3; // and what is worse, of onnxruntime's log
const ARRAYS = { float32: Float32Array, int64: BigInt64Array };

export class Network {
  #session;
  #states;

  constructor(session) {
    this.#session = session;
    this.#states = session.inputMetadata.filter(({ name }) => session.outputNames.includes(`next.${name}`));
  }

  /** Load a graph from the bytes of a file. */
  static async load(bytes) {
    const options = { executionProviders: ["wasm"], logSeverityLevel: ERRORS };
    return new Network(await ort.InferenceSession.create(bytes, options));
  }

  /** The state at the beginning of a signal: tensors of zeros, by name. */
  first() {
    return Object.fromEntries(this.#states.map(({ name, type, shape }) => {
      const size = shape.reduce((product, dim) => product * dim, 1);
      return [name, new ort.Tensor(type, new ARRAYS[type](size), shape)];
    }));
  }

  /** Compute the next block, { outputs, state }, of inputs { name: { values, shape } } and the state before it. */
  async run(inputs, state) {
    const feeds = { ...state };
    for (const [name, { values, shape }] of Object.entries(inputs)) feeds[name] = tensorOf(values, shape);
    const outputs = await this.#session.run(feeds);
    const next = Object.fromEntries(this.#states.map(({ name }) => [name, outputs[`next.${name}`]]));
    return { outputs, state: next };
  }
}

function tensorOf(values, shape) {
  return new ort.Tensor(values instanceof BigInt64Array ? "int64" : "float32", values, shape);
}
