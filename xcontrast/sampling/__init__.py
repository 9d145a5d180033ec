"""From a cube to pairs, chips and batches."""
