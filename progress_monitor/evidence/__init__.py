"""What a picture is worth: freshness, light, cover, repetition, and how the camera stands."""
