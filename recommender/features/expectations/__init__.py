"""What is expected of features before they are published, and how far they have moved."""
