"""Losses of the codec besides the discriminators: spectra, models of hearing, and the shape of its latents."""
