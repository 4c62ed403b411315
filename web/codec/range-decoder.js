/** Bytes -> symbols: the asymmetric numeral system of docs/CONTEXT.md. The state, below 2^48, is exact in a number. */

import { FormatError } from "./vq.js";

const WORD = 65536;
const LOW = 2 ** 32;
const START = 256;

export class RangeDecoder {
  #bytes;
  #place = 0;
  #state = 0;
  #proper;

  constructor(bytes) {
    this.#bytes = bytes.length % 2 ? Uint8Array.of(0, ...bytes) : bytes;
    this.#proper = bytes.length > 0 && bytes[0] > 0;
    for (let word = 0; word < 3; word++) this.#refill();
  }

  /** The share, out of 65536, that the next symbol has. */
  get share() {
    return this.#state % WORD;
  }

  /** Go on behind the next symbol, which has `shares` shares from `first` on. */
  advance(first, shares) {
    this.#state = shares * Math.floor(this.#state / WORD) + this.share - first;
    this.#refill();
  }

  /** Check that the symbols end where the bytes do. */
  finish() {
    if (!this.#proper || this.#state !== START || this.#place !== this.#bytes.length) {
      throw new FormatError("a packet does not end where its codes do");
    }
  }

  #refill() {
    if (this.#state >= LOW || this.#place === this.#bytes.length) return;
    this.#state = this.#state * WORD + this.#bytes[this.#place] * 256 + this.#bytes[this.#place + 1];
    this.#place += 2;
  }
}
