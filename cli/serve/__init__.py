"""`vqcodec serve`."""
