"""Files: HTML pages, pictures, slides and data.  No Panel."""
