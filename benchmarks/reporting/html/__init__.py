"""report.html: one file with the tables and charts of a folder, which opens without a network."""
