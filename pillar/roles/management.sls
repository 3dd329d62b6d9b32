# A server for an operator's own tools has no values of its own.
{}
