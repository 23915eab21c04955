"""What is to be looked at: manifests, labels, ranks."""
