"""Training with PyTorch: one loop, shared losses, batches and layers. Whatever imports this room needs the extra `torch`."""
