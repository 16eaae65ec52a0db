"""Values that follow from a port's recorded values, in numpy and float64, with and without each known mistake."""
