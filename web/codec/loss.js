/** Frames that are lost at random, and what takes their place. */

import { ABSENT } from "./payloads.js";

const REPEATED_FRAMES = 3;

/** Which of so many frames are lost, each with this probability; the same ones each time. */
export function lostFrames(frames, probability) {
  let state = 1;
  return Array.from({ length: frames }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 < probability;
  });
}

/**
 * Codes without the lost frames: with "repeat", the last frame that arrived stands in for up to 60 ms, and what lasts
 * longer is absent; with "absent", all that is lost is absent, which decodes as silence.
 */
export function conceal(codes, lost, method) {
  return codes.map((channel) => {
    const rows = channel.map((row) => row.slice());
    let since = REPEATED_FRAMES;
    lost.forEach((gone, frame) => {
      since = gone ? since + 1 : 0;
      if (!gone) return;
      const repeats = method === "repeat" && since <= REPEATED_FRAMES;
      for (const row of rows) row[frame] = repeats ? row[frame - 1] : ABSENT;
    });
    return rows;
  });
}
