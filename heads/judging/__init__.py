"""What `heads.judging.evaluation` needs, and other ways to judge a head."""
