"""ConvNet's passes written for a CPU's caches, where torch's own modules are slow."""
