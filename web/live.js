/** Real time: microphone -> codes -> loudspeaker, a frame at a time. */

import { microphone } from "./audio.js";

/**
 * Begin; returns { stop }. `report` is told, after each frame, the seconds that it took for each second of sound, a
 * running mean, and how many frames there were.
 */
export async function talk(client, { sampleRate, hop }, stages, report) {
  const context = new AudioContext({ sampleRate });
  const stop = async (stream) => {
    stream?.getTracks().forEach((track) => track.stop());
    await context.close();
  };
  let stream;
  try {
    stream = await microphone();
    await context.audioWorklet.addModule(new URL("live-worklet.js", import.meta.url));
    await client.call("begin", { stages });
    const node = new AudioWorkletNode(context, "codec", { processorOptions: { frame: hop } });
    node.port.onmessage = through(client, node, hop / sampleRate, report);
    context.createMediaStreamSource(stream).connect(node).connect(context.destination);
  } catch (error) {
    await stop(stream);
    throw error;
  }
  return { stop: () => stop(stream) };
}

function through(client, node, seconds, report) {
  let frames = 0, factor = 0;
  return async ({ data }) => {
    const { samples, seconds: taken } = await client.call("push", { samples: data });
    node.port.postMessage(samples);
    frames += 1;
    factor += (taken / seconds - factor) / Math.min(frames, 50);
    report(factor, frames);
  };
}
