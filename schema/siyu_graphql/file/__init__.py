"""Files: exports and imports, reached by signed links."""
