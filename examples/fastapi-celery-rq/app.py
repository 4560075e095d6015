"""A web application as it was before: nothing in it knows of telemetry."""

from __future__ import annotations

from fastapi import FastAPI
from tasks import charge

app = FastAPI(title="shop")


@app.post("/orders/{number}", status_code=202)
def order(number: int) -> dict[str, str]:
    """Take an order; all the work is done later, elsewhere."""
    return {"order": str(number), "task": charge.delay(number).id}
