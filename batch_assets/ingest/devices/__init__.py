"""Records of devices, each device in order, each record once."""
