"""Log records of jobs: which of them leave the process, and how."""
