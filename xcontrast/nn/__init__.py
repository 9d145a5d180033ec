"""Encoders, losses and augmentation on tensors; nothing here knows xarray."""
