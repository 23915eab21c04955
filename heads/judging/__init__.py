"""What `heads.evaluate` needs, and other ways to judge a head."""
