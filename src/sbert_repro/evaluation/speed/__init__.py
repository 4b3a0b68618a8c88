"""How many sentences a second: Table 7 and the headline, measured side by side."""
