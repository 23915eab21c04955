"""Parts of the report; it is put together by `heads.reporting.page`."""
