"""One readable training loop, its schedules, checkpoints and verdict."""
