"""The same diagnosis for a terminal, for machines, for a browser, and as text files."""
