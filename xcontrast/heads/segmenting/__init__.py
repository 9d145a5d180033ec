"""Encoder and decoder fine-tuned together: from pixels and labels to a map of every pixel."""
