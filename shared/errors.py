"""The one exception that means: the user can mend this."""


class InputError(Exception):
    """Bad input. Its text is one line that names the thing and the remedy; a command prints it and exits with 2."""
