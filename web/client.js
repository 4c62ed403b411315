/** The worker as a function: `await call(task, values, report)`. */

export class Client {
  #worker = new Worker(new URL("codec/codec.worker.js", import.meta.url), { type: "module" });
  #waiting = new Map();
  #next = 0;

  constructor() {
    this.#worker.onmessage = ({ data }) => this.#answer(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      const error = new Error("the codec cannot be loaded: is vendor/ there? See docs/web.md");
      for (const { reject } of this.#waiting.values()) reject(error);
      this.#waiting.clear();
    };
  }

  /** Have the worker do a task; `report` is told the share that is done. */
  call(task, values = {}, report = () => {}) {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject, report });
      this.#worker.postMessage({ id, task, ...values });
    });
  }

  #answer({ id, share, result, error }) {
    const { resolve, reject, report } = this.#waiting.get(id);
    if (share !== undefined) return report(share);
    this.#waiting.delete(id);
    if (error === undefined) resolve(result);
    else reject(new Error(error));
  }
}
