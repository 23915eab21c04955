"""How a head learns: a file a strategy, by its name; the contract is `heads.training.strategy`."""
