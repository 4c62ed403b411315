/** Microphone -> blocks of a frame; blocks that come back -> loudspeaker. */

const BEGIN_BLOCKS = 2;
const MOST_BLOCKS = 25;

class CodecProcessor extends AudioWorkletProcessor {
  #input;
  #filled = 0;
  #blocks = [];
  #place = 0;
  #plays = false;

  constructor({ processorOptions: { frame } }) {
    super();
    this.#input = new Float32Array(frame);
    this.port.onmessage = ({ data }) => {
      this.#blocks.push(data);
      if (this.#blocks.length > MOST_BLOCKS) this.#blocks.splice(1, 1); // the first is being played
      if (this.#blocks.length >= BEGIN_BLOCKS) this.#plays = true;
    };
  }

  process([[input]], [[output]]) {
    for (const value of input ?? []) this.#take(value);
    for (let place = 0; place < output.length; place++) output[place] = this.#next();
    return true;
  }

  #take(value) {
    this.#input[this.#filled++] = value;
    if (this.#filled < this.#input.length) return;
    this.port.postMessage(this.#input.slice());
    this.#filled = 0;
  }

  #next() {
    if (!this.#plays) return 0;
    const value = this.#blocks[0][this.#place++];
    if (this.#place === this.#blocks[0].length) {
      this.#blocks.shift();
      this.#place = 0;
      this.#plays = this.#blocks.length > 0;
    }
    return value;
  }
}

registerProcessor("codec", CodecProcessor);
