"""The demonstration: the main job on real market data, in a project folder of its own."""
