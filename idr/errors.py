"""What an operator can cause or mend. Each is said in one line, without a traceback; anything else is a bug."""


class IdrError(Exception):
    """Something is not as it has to be; `problems` say what, and what to do about it, a line each: here the message."""

    def __init__(self, what):
        super().__init__(what)
        self.problems = [str(what)]


class Refused(IdrError):
    """An action that wasn't begun, or went no further; `problems` are all its reasons, a line each."""

    def __init__(self, problems, what="refused, nothing was changed"):
        super().__init__(what)
        self.problems = list(problems)
