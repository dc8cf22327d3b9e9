"""What the person types: keys, lines, completion, history."""
