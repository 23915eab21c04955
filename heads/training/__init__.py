"""How a head learns."""
