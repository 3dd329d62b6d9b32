"""From one environment to the next: what comes before the public address moves, the move, and what comes after."""
