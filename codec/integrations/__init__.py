"""vqcodec inside other libraries, each in a package of its own that needs that library."""
