"""What the master does beside its builds, on a clock of its own: who is here, who was shut out, what may go."""
