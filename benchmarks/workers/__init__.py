"""Workers: which interpreter, how a job reaches it, on what machine."""
