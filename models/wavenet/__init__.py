"""A decoder that draws the waveform sample by sample, each from all that it has drawn before."""
