/** The bytes of a WAV file of 16 bits a sample: channels are Float32Arrays of equal length. */
export function toWav(channels, sampleRate) {
  const length = channels[0].length;
  const size = 2 * channels.length * length;
  const view = new DataView(new ArrayBuffer(44 + size));
  const text = (place, letters) => {
    for (let index = 0; index < letters.length; index++) view.setUint8(place + index, letters.charCodeAt(index));
  };
  text(0, "RIFF");
  view.setUint32(4, 36 + size, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // whole numbers
  view.setUint16(22, channels.length, true);
  view.setUint32(24, sampleRate, true);
  view.setUint32(28, 2 * channels.length * sampleRate, true);
  view.setUint16(32, 2 * channels.length, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, size, true);
  let place = 44;
  for (let sample = 0; sample < length; sample++) {
    for (const channel of channels) {
      view.setInt16(place, Math.max(-32768, Math.min(32767, Math.round(channel[sample] * 32768))), true);
      place += 2;
    }
  }
  return new Uint8Array(view.buffer);
}
