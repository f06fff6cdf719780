"""What happened: counters and readings that an operator can watch."""
