"""What reading and comparing raise."""


class UnreadableError(ValueError):
    """Something that is not a mathematical answer in a form that this library reads."""


class TooLargeError(UnreadableError):
    """Something too long, too deep or too costly to read or evaluate: a guard held."""
