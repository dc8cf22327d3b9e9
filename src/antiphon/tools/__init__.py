"""Tools of a program: functions, schemas, consent, deadlines, and the processor of calls."""
