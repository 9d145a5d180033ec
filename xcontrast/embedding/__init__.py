"""Dense, lazy embeddings on the grid of the cube."""
