/** Sounds from files and from the microphone. */

/** The bytes of a sound file -> mono samples at this rate. */
export async function samplesOf(buffer, sampleRate) {
  const context = new OfflineAudioContext(1, 1, sampleRate); // decodes to its own rate
  let sound;
  try {
    sound = await context.decodeAudioData(buffer);
  } catch {
    throw new Error("the browser cannot read this file as sound");
  }
  const samples = new Float32Array(sound.length);
  for (let channel = 0; channel < sound.numberOfChannels; channel++) {
    sound.getChannelData(channel).forEach((value, place) => (samples[place] += value / sound.numberOfChannels));
  }
  if (!samples.length) throw new Error("the sound is empty");
  return samples;
}

/** A recording that has begun: `await stop()` returns its bytes. */
export async function record() {
  const stream = await microphone();
  const recorder = new MediaRecorder(stream);
  const parts = [];
  recorder.ondataavailable = ({ data }) => parts.push(data);
  recorder.start();
  return {
    stop: () => new Promise((resolve) => {
      recorder.onstop = () => {
        stream.getTracks().forEach((track) => track.stop());
        resolve(new Blob(parts).arrayBuffer());
      };
      recorder.stop();
    }),
  };
}

/** The microphone, without the browser's own processing but for the cancelling of echoes. */
export async function microphone() {
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, echoCancellation: true } });
  } catch {
    throw new Error("the microphone cannot be used: is there one, and may this page use it?");
  }
}
