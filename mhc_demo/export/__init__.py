"""What leaves the house: HTML files, pictures, slides and data files.  No Panel."""
