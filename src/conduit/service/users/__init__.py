"""Accounts, devices, tokens, profiles and passwords: facts about the users of this server."""
