"""Training of context models: from recordings to the codes of a model, and from these to a network that predicts them."""
