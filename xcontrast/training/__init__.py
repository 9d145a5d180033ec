"""Pretraining: the contrastive methods, the loop around them and what it watches."""
