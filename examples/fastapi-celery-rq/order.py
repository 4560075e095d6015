"""What a browser does: one request, which knows nothing of a trace."""

from __future__ import annotations

import os
import urllib.request

SHOP = f"http://localhost:{os.environ.get('PORT', '8000')}"

if __name__ == "__main__":
    request = urllib.request.Request(f"{SHOP}/orders/1042", method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
        print(answer.status, answer.read().decode())
