"""The three objectives of section 3; one file each, and the concatenation they share."""
