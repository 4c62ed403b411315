"""Sounds and files <-> codes, whatever computes the networks. Imports no torch but in `torch_engine`."""
