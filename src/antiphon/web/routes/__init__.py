"""What the browser can ask for, a module for each kind of thing."""
