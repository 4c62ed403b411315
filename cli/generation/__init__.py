"""Commands for priors: training, sampling, continuation, infilling, likelihood."""
