"""Training of priors over the codes of a model, and what is made with them."""
