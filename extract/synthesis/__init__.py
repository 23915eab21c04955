"""How the clips of `extract.synthetic` are drawn."""
