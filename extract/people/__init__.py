"""Where persons, faces and hands are in videos: from a detector, or from a file of anybody's."""
