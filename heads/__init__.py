"""Stage two: heads trained on a feature store, their evaluation, tuning and use."""
