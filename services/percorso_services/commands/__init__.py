"""The commands of `percorso`, one module each; heavy imports stand inside their functions."""
