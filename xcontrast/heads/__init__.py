"""From embeddings and a few labels to labelled maps."""
