"""What can go wrong, each with the exit status that the command line gives it."""


class PellucidError(Exception):
    """A failure that one line explains; the command line prints it and exits with `exit_status`."""

    exit_status = 1


class BadUsage(PellucidError):
    """The caller asked for something that does not exist: a recipe, a field, a flag."""

    exit_status = 2


class BadData(PellucidError, ValueError):
    """A file or a row is not what was promised; the message names file, row and remedy."""

    exit_status = 3


class UnsafeInput(PellucidError):
    """Loading this could run or overwrite something: a pickle, an archive path outside its folder."""

    exit_status = 4


class GateMissed(PellucidError):
    """A quality gate was set and the measured number is below it."""

    exit_status = 5


class Interrupted(PellucidError):
    """A signal stopped training after a checkpoint was written; the same command resumes."""

    exit_status = 130
