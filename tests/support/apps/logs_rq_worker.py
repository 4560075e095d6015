"""`rq`, behind an application's own set-up of telemetry and logging."""

from __future__ import annotations

import logging

from support.apps.logs_lines import SETUP
from support.apps.logs_setup import set_up

if "loghandlers_before" in SETUP:
    from rq.logutils import setup_loghandlers

    setup_loghandlers("INFO")
set_up()
if "loghandlers_after" in SETUP:
    from rq.logutils import setup_loghandlers

    setup_loghandlers("INFO")
if "basic_before" in SETUP:
    logging.basicConfig(level="INFO", format="basic %(levelname)s %(name)s %(message)s")

from rq.cli import main  # noqa: E402

if __name__ == "__main__":
    main()
