"""From a generator's raw videos to a labelled, ranked and split set."""
