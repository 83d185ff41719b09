"""Verse: forms of poems, from TOML files; they judge texts and constrain what is generated."""
