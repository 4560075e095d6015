"""What is common to every queue: spans, context, verdicts and their way out of the process.

Start reading in ``lifecycle.py``. Nothing here knows a queue library.
"""
