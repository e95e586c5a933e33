"""What of a fleet folder can't be made again, in one sealed file, and back."""
