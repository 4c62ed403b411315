"""Priors: networks that say how likely codes are, and sample new ones."""
