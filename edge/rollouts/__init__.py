"""What boards are to run, and how they come to it: flash is a rollout of one board."""
