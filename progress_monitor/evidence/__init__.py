"""What a picture is worth: freshness, light, cover, and how the camera stands."""
