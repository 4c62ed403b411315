"""What the codec learns from, besides the discriminators: spectra, models of hearing, and the shape of its latents."""
