"""Parts of a run; the centre is `extract.running.pipeline`."""
