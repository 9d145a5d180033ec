"""One module a contrastive method."""
