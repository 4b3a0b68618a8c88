"""A data set a file: its name is the file's, its record is `RECORD`."""
