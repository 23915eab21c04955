"""The service: videos come over HTTP, wait in a queue, and are judged one at a time."""
