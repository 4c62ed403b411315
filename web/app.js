/** The page: what its controls do. Its state is in `data-state`: loading, ready, working, done or error. */

import { record, samplesOf } from "./audio.js";
import { Client } from "./client.js";
import { talk } from "./live.js";
import { draw } from "./spectrogram.js";
import { toWav } from "./wav.js";

const ORIGINAL_KBPS = 256;
const MAGIC = "VQC";
const CONTROLS = ["file", "record", "stages", "loss", "method", "live"];

const element = (id) => document.getElementById(id);
const client = new Client();

/** What the page works on: samples, codes and file of the sound at hand, and the decoded channels. */
export const sound = { original: null, codes: null, samples: 0, file: null, encodingS: null, decoded: null };
let model;
let last = Promise.resolve();
let recording = null;
let conversation = null;

await attempt("The codec could not be loaded.", async () => {
  model = await client.call("load", { folder: new URL("model/", document.baseURI).href }, showProgress);
  element("stages").max = model.stages;
  showSettings();
  for (const id of CONTROLS) element(id).disabled = false;
  settle("ready", `The codec is ready: model ${model.name}, ${(model.bytes / 1e6).toFixed(1)} MB.`);
});

element("file").addEventListener("change", ({ target }) => {
  if (target.files.length) openFile(target.files[0]);
});
element("record").addEventListener("click", () => attempt("Nothing was recorded.", toggleRecording));
element("live").addEventListener("click", () => attempt("Real time has ended.", toggleLive));
for (const id of ["stages", "loss"]) element(id).addEventListener("input", showSettings);
element("stages").addEventListener("change", () => sound.original && encodeAndDecode());
for (const id of ["loss", "method"]) element(id).addEventListener("change", () => sound.codes && decodeAgain());
acceptDrops(document.documentElement);

function acceptDrops(place) {
  place.addEventListener("dragover", (event) => {
    event.preventDefault();
    place.classList.add("over");
  });
  place.addEventListener("dragleave", ({ relatedTarget }) => relatedTarget ?? place.classList.remove("over"));
  place.addEventListener("drop", (event) => {
    event.preventDefault();
    place.classList.remove("over");
    if (model && event.dataTransfer.files.length) openFile(event.dataTransfer.files[0]);
  });
}

function openFile(file) {
  return attempt(`${file.name} could not be opened.`, async () => {
    working(`Reading ${file.name} …`);
    const buffer = await file.arrayBuffer();
    const magic = String.fromCharCode(...new Uint8Array(buffer, 0, Math.min(3, buffer.byteLength)));
    await (magic === MAGIC ? openCoded(new Uint8Array(buffer)) : openSound(buffer));
  });
}

async function openSound(buffer) {
  await encode(await samplesOf(buffer, model.sampleRate));
  await decode();
}

async function openCoded(file) {
  const { codes, samples } = await client.call("open", { file });
  Object.assign(sound, { original: null, codes, samples, file, encodingS: null });
  await decode();
}

function encodeAndDecode() {
  return attempt("The sound could not be encoded.", async () => {
    await encode(sound.original);
    await decode();
  });
}

function decodeAgain() {
  return attempt("The sound could not be decoded.", decode);
}

async function encode(original) {
  working("Encoding …");
  const values = { samples: original, stages: stages() };
  const { codes, file, seconds } = await client.call("encode", values, showProgress);
  Object.assign(sound, { original, codes, samples: original.length, file, encodingS: seconds });
}

async function decode() {
  working("Decoding …");
  const values = { codes: sound.codes, samples: sound.samples, loss: lossShare(), method: element("method").value };
  const result = await client.call("decode", values, showProgress);
  sound.decoded = result.channels;
  showResult(result);
}

async function toggleRecording() {
  const finished = recording;
  recording = finished ? null : await record();
  press("record", recording !== null, finished ? "Record" : "Stop recording");
  if (finished) await openSound(await finished.stop());
  else element("status").textContent = "Recording …";
}

async function toggleLive() {
  const finished = conversation;
  conversation = finished ? null : await talk(client, model, stages(), showLive);
  press("live", conversation !== null, finished ? "Start" : "Stop");
  await finished?.stop();
  element("status").textContent = finished ? "Real time has ended." : "Real time: speak.";
}

function press(id, pressed, text) {
  element(id).setAttribute("aria-pressed", pressed);
  element(id).textContent = text;
}

/** Do something once all before it is done, and say what went wrong if it does. */
function attempt(failure, action) {
  last = last.then(async () => {
    try {
      element("error").textContent = "";
      await action();
    } catch (error) {
      element("error").textContent = `${failure} ${error.message}`;
      settle("error", "");
    }
  });
  return last;
}

function stages() {
  return Number(element("stages").value);
}

function lossShare() {
  return Number(element("loss").value) / 100;
}

function kbps(count) {
  return (count * model.bits * model.sampleRate) / model.hop / 1000;
}

function working(text) {
  element("app").dataset.state = "working";
  element("status").textContent = text;
  showProgress(0);
}

function settle(state, text) {
  element("status").textContent = text;
  showProgress(0);
  element("app").dataset.state = state;
}

function showProgress(share) {
  element("progress").value = share;
}

function showSettings() {
  element("rate").textContent = `${kbps(stages())} kbit/s, ${stages()} codes a frame`;
  element("loss-share").textContent = `${element("loss").value} %`;
}

function showLive(factor, frames) {
  element("live-note").textContent = `${factor.toFixed(2)} s of computing for a second of sound`;
  element("live-note").dataset.frames = frames;
}

function showResult({ channels, lost, seconds }) {
  const duration = sound.samples / model.sampleRate;
  const bits = duration ? (8 * sound.file.length) / duration / 1000 : 0;
  element("result").hidden = false;
  element("original").hidden = sound.original === null;
  if (sound.original) showSound("original", [sound.original]);
  showSound("decoded", channels);
  element("duration").textContent = `${duration.toFixed(2)} s`;
  element("size").textContent = `${sound.file.length} bytes`;
  const ratio = Math.round(ORIGINAL_KBPS / bits);
  element("bitrate").textContent =
    `${bits.toFixed(2)} kbit/s, against ${ORIGINAL_KBPS} kbit/s of 16 bits at 16 kHz, ${ratio} times as much`;
  element("lost").textContent = `${lost} frames of ${sound.codes[0][0].length}`;
  const speeds = [["encoded", sound.encodingS], ["decoded", seconds]].filter(([, taken]) => taken);
  element("speed").textContent = speeds
    .map(([what, taken]) => `${what} ${(duration / taken).toFixed(1)} times as fast as real time`)
    .join(", ");
  link("save-vq", sound.file, "application/octet-stream");
  settle("done", `Done: ${duration.toFixed(2)} s in ${sound.file.length} bytes.`);
}

function showSound(id, channels) {
  const bytes = toWav(channels, model.sampleRate);
  const audio = element(`${id}-audio`);
  URL.revokeObjectURL(audio.src);
  audio.src = URL.createObjectURL(new Blob([bytes], { type: "audio/wav" }));
  draw(element(id).querySelector("canvas"), channels[0]);
  if (id === "decoded") link("save-wav", bytes, "audio/wav");
}

function link(id, bytes, type) {
  URL.revokeObjectURL(element(id).href);
  element(id).href = URL.createObjectURL(new Blob([bytes], { type }));
}
