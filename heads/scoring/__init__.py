"""Parts of scoring archives; the centre is `heads.scoring.archive`."""
