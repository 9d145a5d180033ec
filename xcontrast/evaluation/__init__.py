"""How good a map is, and what it must beat: scores, intervals, calibration, folds, baselines."""
