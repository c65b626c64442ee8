"""What answers are worth, by the role of the model that gave them: one module a role, and what they share."""
