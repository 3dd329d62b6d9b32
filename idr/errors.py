"""What an operator can cause or mend. Each is said in one line, without a traceback; anything else is a bug."""


class IdrError(Exception):
    """Something is not as it has to be; the message says what, and what to do about it."""


class Refused(IdrError):
    """An action that wasn't begun, or went no further; `problems` are all its reasons, a line each."""

    def __init__(self, problems, what="refused, nothing was changed"):
        self.problems = list(problems)
        super().__init__(what)
