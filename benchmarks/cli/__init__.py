"""The command line: parsers and the options that commands share."""
