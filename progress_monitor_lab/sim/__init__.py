"""The simulated workcell: camera, scripted expert, faults, ground truth and replanning."""
