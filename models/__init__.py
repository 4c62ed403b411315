"""The networks: waveform -> latents -> codes, and back."""
