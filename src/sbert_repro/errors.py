"""The exceptions that mean: the user can mend this, or has to decide."""

import sys


class UserError(Exception):
    """A mistake in an option, a file or a folder that the user can mend.

    The command line prints it as one line, ``error: where: found: mend``, and exits with status 2,
    without a traceback; anything else that is raised is a bug of ours and keeps its traceback.

    Args:
        found: What is wrong, and what was expected. It never names a path of this machine when it
            can become the reason in a table's cell, since tables are committed; see ``where``.
        where: The file, folder or option it was found in; "" when ``found`` says it all.
        mend: What to do about it, such as a command; "" when there is nothing to add.
        code: A word for programs, which never read sentences: ``refused``, ``missing`` (a model,
            data set or library that is not on this machine), ``partial``, ``by_hand``
            (nobody but the user can fetch it), ``no_stand_in``, ``out_of_memory``, ``diverged``.
    """

    def __init__(
        self, found: str, *, where: object = "", mend: str = "", code: str = "refused"
    ) -> None:
        self.found, self.where, self.mend = (" ".join(str(w).split()) for w in (found, where, mend))
        self.code = code
        super().__init__(": ".join(word for word in (self.where, self.found, self.mend) if word))

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle every field, so that an error keeps them on its way out of another process."""
        return _rebuilt, (type(self), self.found, self.where, self.mend, self.code)


class Diverged(UserError):
    """A training whose loss is no longer a number: a result, which is shown and not tried again."""

    def __init__(
        self, found: str, *, where: object = "", mend: str = "", code: str = "diverged"
    ) -> None:
        super().__init__(found, where=where, mend=mend, code=code)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory ran out: Python's, a GPU's, or what torch asks the system for on a CPU.

    Args:
        error: What was raised.

    Returns:
        Whether it did.
    """
    # torch has no class for the last one. Whoever never imported torch did not get it from there.
    torch = sys.modules.get("torch")
    return isinstance(error, MemoryError) or (
        torch is not None
        and isinstance(error, RuntimeError)
        and (
            isinstance(error, torch.OutOfMemoryError)
            or "DefaultCPUAllocator: " in str(error).partition("\n")[0]
        )
    )


def _rebuilt(kind: type[UserError], found: str, where: str, mend: str, code: str) -> UserError:
    return kind(found, where=where, mend=mend, code=code)
