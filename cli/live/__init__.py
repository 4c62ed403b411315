"""`vqcodec listen` and `vqcodec talk`."""
