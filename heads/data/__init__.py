"""Which videos teach, decide and judge."""
