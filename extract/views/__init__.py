"""What is looked at in a video: protocols, transforms, augmentation, perturbation."""
