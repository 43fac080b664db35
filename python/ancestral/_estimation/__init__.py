"""What is computed from samples and their weights, behind `complete`, `prob_range` and `typicality`."""
