"""What a GPU does in fewer and larger steps: a fused kernel, and whole steps as one launch."""
