"""Pictures as cameras send them, to small RGB arrays: NumPy and OpenCV only."""
