"""Networks that branches are made of, beside the blocks in `extract.networks.vit`."""
