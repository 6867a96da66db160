"""What a run leaves on disk, the one way in which files are written, read and locked, and the processes of a run."""
