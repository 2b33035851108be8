"""Push rules: the predefined table, conditions, and a user's ruleset."""
