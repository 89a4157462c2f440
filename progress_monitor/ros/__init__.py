"""Everything that imports rclpy: nodes, parameters and message conversion."""
