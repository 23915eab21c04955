"""Parts of scoring archives; the centre is `heads.score`."""
