"""Looking inside: draw a graph, step through backward, profile, find the first NaN, summarise a model."""
