"""An environment in its cloud: what is wanted, what is there, the plan between the two, and its execution."""
