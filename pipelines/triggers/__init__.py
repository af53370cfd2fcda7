"""What starts a run by itself: new data, drift, worse quality, or somebody who asks."""
