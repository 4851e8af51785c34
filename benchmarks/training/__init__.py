"""Training speed, side by side with other trainers."""
