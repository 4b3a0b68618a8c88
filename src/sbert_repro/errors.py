"""The exceptions that mean: the user can mend this, or has to decide."""


class UserError(Exception):
    """A mistake in an option, a file or a folder that the user can mend.

    The message is one line: the file or option, what was found, what was expected, and the command
    that mends it. The command line prints it as ``error: …`` and exits with status 2, without a
    traceback; anything else that is raised is a bug of ours and keeps its traceback.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class Diverged(UserError):
    """A training whose loss is no number any more: a result, which is shown and not tried again."""
