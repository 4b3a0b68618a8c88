"""What people look at: plots, drawn from results."""
