"""The context model: a small causal network in whole numbers that predicts the codes of a frame from those before."""
