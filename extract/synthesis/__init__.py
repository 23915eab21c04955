"""How the clips of `extract.synthesis.data_set` are drawn."""
