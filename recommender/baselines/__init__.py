"""The rivals: what a model must beat, one file each, all behind `recommender.scoring.Scorer`."""
