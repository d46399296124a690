"""Training: the state, the compiled step that changes it, the loop around it, checkpoints and callbacks."""
