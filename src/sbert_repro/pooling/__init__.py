"""From token states to one vector a sentence (section 3); one file a strategy."""
