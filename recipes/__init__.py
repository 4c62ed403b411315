"""Training and evaluation: recipes, data, losses, the loop, and the scores."""
