"""Parts of the search for settings; the centre is `heads.tuning.search`."""
