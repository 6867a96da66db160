"""What a run leaves on disk, and the one way in which this package writes, reads and locks files."""
