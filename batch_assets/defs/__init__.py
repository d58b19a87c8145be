"""Assets, checks, schedules and sensors, one package per domain."""
