"""From token states to one vector per sentence (section 3); one file per strategy."""
