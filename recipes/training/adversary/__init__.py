"""The adversarial phase: discriminators, and the losses that they add to the codec's."""
