"""What a series of estimates says: progressing, stalled, regressing, succeeded, or not to be told.

Plain Python and NumPy over time series; nothing here knows of ROS or of the model.
"""
