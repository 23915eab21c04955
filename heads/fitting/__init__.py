"""From data to a bundle: several seeds, out-of-fold predictions, ensembles."""
