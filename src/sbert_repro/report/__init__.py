"""Results as pictures and pages; reads files, computes nothing."""
